"""How the event loop hears of commits."""

import asyncio
import threading

import pytest

from apps.telemetry.ingest import asgi
from apps.telemetry.ingest.http import Request
from apps.telemetry.ingest.receipt import Receipt


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(asgi, "ANSWER_SECONDS", 0.05)


def test_what_another_thread_posts_arrives():
    async def scenario():
        loop = asyncio.get_running_loop()
        mailbox, receipt = asgi.Mailbox(loop), Receipt()
        outcomes = [loop.create_future() for _ in range(3)]
        for outcome in outcomes:
            mailbox.expect(outcome)
        threading.Thread(target=lambda: [mailbox.post(outcome, receipt) for outcome in outcomes]).start()
        return [one is receipt for one in await asyncio.gather(*outcomes)]

    assert asyncio.run(scenario()) == [True] * 3


def test_silence_is_given_up_in_turn(short_wait):
    async def scenario():
        loop = asyncio.get_running_loop()
        mailbox = asgi.Mailbox(loop)
        first, second = loop.create_future(), loop.create_future()
        mailbox.expect(first)
        await asyncio.sleep(0.02)
        mailbox.expect(second)
        await asyncio.wait([first])
        mailbox.post(second, Receipt())  # it came later, so it is still waited for
        return first.exception(), await second

    failure, receipt = asyncio.run(scenario())

    assert isinstance(failure, TimeoutError)
    assert isinstance(receipt, Receipt)


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_what_was_refused(ingesting, key, settings, monkeypatch):
    """Else each 503 of a busy hub would be followed by a line in the log, of an exception that nobody saw."""
    settings.TELEMETRY = settings.TELEMETRY | {"MAX_QUEUED_READINGS": 0}
    monkeypatch.setattr(ingesting.writer, "_queued", 1)
    request = Request(asgi.JSON, b'{"metrics": {"vibration": 5.2}}', f"Token {key}", "application/json")
    ingesting.prepare(request, may_block=True)  # so that nothing has to be asked below

    async def scenario():
        response = await asgi._answer(request)
        return response.status, list(asgi._mailbox(asyncio.get_running_loop())._awaited)

    assert asyncio.run(scenario()) == (503, [])
