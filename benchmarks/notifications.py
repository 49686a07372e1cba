"""How fast one worker empties the queue, and whether a receiver that hangs holds up the others.

    python benchmarks/notifications.py [--deliveries 10000] [--delay 0.02] [--hanging 100]

Makes a database of its own beside that of DATABASE_URL, and drops it at the end. The receiver is a process of
its own that answers every POST after `delay` seconds; `hanging` more deliveries are for one that never answers.
"""

import argparse
import asyncio
import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "iot_hub.settings"
os.environ["WEBHOOK_ALLOWED_PRIVATE_HOSTS"] = "127.0.0.1"
os.environ["NOTIFICATION_TIMEOUT"] = "3"

ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
PER_EVENT = 10


def receive(listening: socket.socket, delay: float) -> None:
    async def serve(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                await asyncio.sleep(delay)
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main():
        async with await asyncio.start_server(serve, sock=listening):
            await asyncio.Event().wait()

    asyncio.run(main())


def start_receiver(delay: float) -> tuple[str, multiprocessing.Process]:
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    process = multiprocessing.get_context("fork").Process(target=receive, args=(listening, delay), daemon=True)
    process.start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/hook", process


def fill(url: str, count: int, *, priority: int) -> None:
    from django.utils import timezone

    from apps.events.models import Event
    from apps.events.tests.factories import EventFactory
    from apps.notifications.models import NotificationDelivery
    from apps.notifications.recipients import lane_of

    now, first = timezone.now(), EventFactory()
    results = [{"type": "notification", "status": "pending"}]
    metadata = {"reading": {"metric": "temperature", "value": 85.5, "unit": "°C"}}
    events = Event.objects.bulk_create(
        Event(
            device=first.device,
            timestamp=now,
            severity="info",
            message=f"Number {number}",
            execution_results=results,
            metadata=metadata,
            dispatched_at=now,
        )
        for number in range(count // PER_EVENT)
    )
    NotificationDelivery.objects.bulk_create(
        NotificationDelivery(
            event=event,
            action_index=0,
            recipient_type="webhook",
            recipient_address=f"{url}/{number}",
            lane=lane_of({"type": "webhook", "url": url}),
            rendered_subject="Hot bearing",
            rendered_message="Hot bearing on Press 1: 85.5",
            next_attempt_at=now,
            priority=priority,
        )
        for event in events
        for number in range(PER_EVENT)
    )


def drain(title: str, url: str) -> None:
    from apps.notifications.lanes import Lanes
    from apps.notifications.models import NotificationDelivery
    from apps.notifications.sender import Sender

    began, cpu = time.monotonic(), time.process_time()
    Sender(Lanes()).run(seconds=600)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    sent = NotificationDelivery.objects.filter(status="sent", recipient_address__startswith=url)
    times = sent.order_by("sent_at").values_list("sent_at", flat=True)
    span = (times.last() - times.first()).total_seconds()
    count = sent.count()
    print(f"{title}: {count} sent in {span:.1f} s = {count / span:.0f}/s")
    print(f"  {1000 * cpu / count:.2f} ms of processor each; the worker was free after {seconds:.1f} s")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--deliveries", type=int, default=10_000)
    options.add_argument("--delay", type=float, default=0.02)
    options.add_argument("--hanging", type=int, default=100)
    options = options.parse_args()

    url, receiver = start_receiver(options.delay)
    silent, hanging = start_receiver(3600)
    import django

    django.setup()
    from django.test.utils import setup_databases, teardown_databases

    from apps.events.models import Event

    databases = setup_databases(verbosity=0, interactive=False, aliases=["default"])
    try:
        fill(url, options.deliveries, priority=1)
        drain("alone", url)
        Event.objects.all().delete()
        fill(silent, options.hanging, priority=0)
        fill(url, options.deliveries, priority=1)
        drain(f"behind {options.hanging} that hang", url)
    finally:
        teardown_databases(databases, verbosity=0)
        receiver.terminate()
        hanging.terminate()


if __name__ == "__main__":
    main()
