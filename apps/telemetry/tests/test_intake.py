"""How the event loop takes requests in, and hears of commits."""

import asyncio
import threading

import pytest

from apps.telemetry.ingest import intake
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.http import Request
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.tests.conftest import answer_to


class Addressee:
    """Keeps what it is answered."""

    def __init__(self):
        self.outcomes = []

    def answer(self, outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(intake, "ANSWER_SECONDS", 0.05)


def test_what_another_thread_posts_arrives():
    async def scenario():
        mailbox, receipt = intake.Mailbox(asyncio.get_running_loop()), Receipt()
        addressees = [Addressee() for _ in range(3)]
        for addressee in addressees:
            mailbox.expect(addressee)
        threading.Thread(target=lambda: [mailbox.post(addressee, receipt) for addressee in addressees]).start()
        while not addressees[-1].outcomes:
            await asyncio.sleep(0.001)
        return [addressee.outcomes for addressee in addressees], receipt

    outcomes, receipt = asyncio.run(scenario())

    assert outcomes == [[receipt]] * 3


def test_silence_is_given_up_in_turn_and_once(short_wait):
    async def scenario():
        mailbox = intake.Mailbox(asyncio.get_running_loop())
        first, second = Addressee(), Addressee()
        mailbox.expect(first)
        await asyncio.sleep(0.02)
        mailbox.expect(second)
        while not first.outcomes:
            await asyncio.sleep(0.001)
        mailbox.post(second, Receipt())  # it came later, so it is still waited for
        mailbox.post(first, Receipt())
        await asyncio.sleep(0.1)
        return first.outcomes, second.outcomes

    first, second = asyncio.run(scenario())

    assert [error.status for error in first] == [503]
    assert second == [Receipt()]


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_what_was_refused(ingesting, key, settings, monkeypatch):
    """Else each 503 of a busy hub would be given up once more ten seconds later."""
    settings.TELEMETRY = settings.TELEMETRY | {"MAX_QUEUED_READINGS": 0}
    monkeypatch.setattr(ingesting.writer, "_queued", 1)
    request = Request(JsonMessages(), b'{"metrics": {"vibration": 5.2}}', f"Token {key}", "application/json")
    ingesting.prepare(request, may_block=True)  # so that nothing has to be asked below

    async def scenario():
        taking, answers = intake.Intake(asyncio.get_running_loop()), []
        taking.take(request, answers.append)
        return [answer.status for answer in answers], taking._mailbox._awaited

    assert asyncio.run(scenario()) == ([503], {})


@pytest.mark.django_db(transaction=True)
def test_fault_of_the_hub_is_told_as_one(ingesting, key, settings, caplog):
    settings.TELEMETRY = {"RETENTION": settings.TELEMETRY["RETENTION"]}  # whatever else it looks for fails
    request = Request(JsonMessages(), b'{"metrics": {"vibration": 5.2}}', f"Token {key}", "application/json")

    assert answer_to(request).status == 500
    assert "An ingest request failed" in caplog.text
