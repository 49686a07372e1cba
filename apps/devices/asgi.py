"""The long poll ahead of Django: a waiting device costs a coroutine, not a thread.

All that wait in a process are looked after by one query every half second. Nothing has to be heard or
remembered for that: the rows are the truth, whoever queued them.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.db import close_old_connections
from django.utils import timezone
from rest_framework.utils.encoders import JSONEncoder

from apps.devices import command_queue
from apps.devices.api import device_side
from apps.problems import CONTENT_TYPE, exception_handler, problem

PATH = "/api/v1/device/commands/"

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="commands")


def ahead_of(application):
    """An ASGI application that answers the long poll itself and leaves the rest to `application`."""
    listeners = Listeners()

    async def entry(scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == PATH:
            await _answer(scope, receive, send, listeners)
        else:
            await application(scope, receive, send)

    return entry


class Listeners:
    """Who waits for what. `woken(device_id)` returns when something may be there for the device."""

    def __init__(self):
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._looking: asyncio.Task | None = None

    async def woken(self, device_id: UUID) -> None:
        bell = asyncio.Event()
        self._waiting.setdefault(device_id, set()).add(bell)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await bell.wait()
        finally:
            self._forget(device_id, bell)

    def _forget(self, device_id: UUID, bell: asyncio.Event) -> None:
        bells = self._waiting.get(device_id, set())
        bells.discard(bell)
        if not bells:
            self._waiting.pop(device_id, None)

    async def _look(self) -> None:
        while self._waiting:
            await asyncio.sleep(device_side.LOOK_EVERY)
            # While the database is away everybody goes on waiting; the next look may find it.
            with suppress(Exception):
                for device_id in await _in_thread(_devices_with_commands, list(self._waiting)):
                    for bell in self._waiting.get(device_id, ()):
                        bell.set()


async def _answer(scope, receive, send, listeners: Listeners) -> None:
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    asked = (headers.get(b"authorization", ""), query.get("serial_number", ""), query.get("wait", ""))
    client_left = asyncio.create_task(_left(receive))
    try:
        status, body, device_id, seconds = await _in_thread(_take, *asked)
        until = asyncio.get_running_loop().time() + seconds
        while device_id and not body["results"] and await _woken(listeners, device_id, until, client_left):
            # Asked anew with the key: it may have been revoked while we waited.
            status, body, device_id, _ = await _in_thread(_take, *asked)
        if not client_left.done():
            await _send(send, status, body)
    finally:
        client_left.cancel()


async def _woken(listeners: Listeners, device_id: UUID, until: float, client_left: asyncio.Task) -> bool:
    """False when the time is over, or nobody is there any more to be handed something."""
    seconds = until - asyncio.get_running_loop().time()
    if seconds <= 0:
        return False
    woken = asyncio.create_task(listeners.woken(device_id))
    try:
        await asyncio.wait({woken, client_left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return woken.done() and not client_left.done()
    finally:
        woken.cancel()


async def _left(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _in_thread(call, *arguments):
    return await asyncio.get_running_loop().run_in_executor(_threads, _closing, call, *arguments)


def _closing(call, *arguments):
    try:
        return call(*arguments)
    finally:
        close_old_connections()


def _devices_with_commands(device_ids: list[UUID]) -> set[UUID]:
    return command_queue.devices_with_commands(device_ids=device_ids, now=timezone.now())


def _take(authorization: str, serial_number: str, wait: str) -> tuple[int, Any, UUID | None, float]:
    """Status, body, and whom to wait for how long if there is nothing; nobody after an error."""
    try:
        now = timezone.now()
        device = device_side.device_of(device_side.key_of(authorization, now=now), serial_number)
        seconds = device_side.seconds_to_wait(wait)
        return 200, device_side.page_of(command_queue.take(device_id=device.pk, now=now)), device.pk, seconds
    except Exception as error:
        refusal = exception_handler(error, {})
        if refusal is None:
            return 503, problem(503, "The hub can't look for commands now; ask again."), None, 0
        return refusal.status_code, refusal.data, None, 0


async def _send(send, status: int, document: Any) -> None:
    body = json.dumps(document, cls=JSONEncoder).encode()
    content_type = "application/json" if status < 400 else CONTENT_TYPE
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    headers += {401: [(b"www-authenticate", b"Token")], 503: [(b"retry-after", b"2")]}.get(status, [])
    with suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
