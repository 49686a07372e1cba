"""Nothing is lost: web process, PostgreSQL and Redis are killed under load, and receipts are compared with the table.

Some 40 seconds; `scripts/test --no-check tests/test_faults.py --faults-minutes 60` goes on for an hour, and
`--faults-seed` repeats the order and pace of the kills of another run. Logs lie in .local/faults until the next one.
"""

import fcntl
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from random import Random, SystemRandom
from uuid import uuid4

import pytest

from apps.notifications.tests.receivers import WebhookReceiver, wait_for
from tests.faults import proof, watch
from tests.faults.feeds import Feed
from tests.faults.fleet import fleet, sending
from tests.faults.hub import INSTANCE, Chief, Hub
from tests.faults.ledger import Ledger
from tests.faults.senders import PATH, Client
from tests.faults.stores import Stores
from tests.faults.strikes import Strikes
from tests.processes import ROOT

pytestmark = pytest.mark.processes

LOGS = ROOT / ".local" / "faults" / INSTANCE
STORED, COME_BACK = (201, 0), (503, 2)
ANSWERS_WITHIN = 15  # seconds, which is generous


@pytest.fixture(scope="module")
def hub(request):
    """A hub that may be killed: not the one whose database the other tests use, and never the user's own."""
    if not Stores(INSTANCE).are_installed:
        pytest.skip("PostgreSQL and Redis are killed here, which takes the private ones of scripts/services")
    LOGS.mkdir(parents=True, exist_ok=True)
    hub = Hub(LOGS)
    with (LOGS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for log in LOGS.glob("*.log"):
            log.unlink()
        failed_before = request.session.testsfailed
        try:
            hub.set_up()
            yield hub
        finally:
            hub.processes.stop()
            # What failed can be looked at until the next run.
            hub.stores.stop() if request.session.testsfailed > failed_before else hub.stores.wipe()


@pytest.fixture(scope="module")
def chief(hub):
    return Chief(hub)


@pytest.fixture
def feed(chief):
    """A device that sends nothing by itself."""
    serial_number = f"CALM-{uuid4()}"
    return Feed(serial_number, ["load"], 1, *chief.add_device(serial_number))


@pytest.fixture
def post(hub, feed):
    """`post(place)` sends one message; `post(place, 5000)` so many. The status, and the seconds of Retry-After."""

    def post(place: int, count: int = 1) -> tuple[int, float]:
        client = Client(hub.port, timeout=ANSWERS_WITHIN)
        try:
            status, _, retry_after = client.post(feed.body(place, count, zipped=count > 1))
        finally:
            client.close()
        return status, retry_after

    return post


@pytest.fixture
def seed(request):
    return request.config.getoption("faults_seed") or SystemRandom().randrange(10**6)


@pytest.fixture
def say(request, capsys):
    """Tells whoever is watching, also when all goes well."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def say(sentence: str) -> None:
        with capsys.disabled():
            reporter.write_line(f"\n  {sentence}")

    return say


def test_ingest_says_503_while_postgresql_is_away_and_goes_on_by_itself(hub, feed, post):
    assert post(0) == STORED
    with hub.without("postgres"):
        assert post(1) == COME_BACK
        assert post(2, 5000) == COME_BACK
    wait_for(lambda: post(1) == STORED, seconds=2 * ANSWERS_WITHIN)
    assert hub.count_readings(feed.device) == 2


def test_web_process_started_without_postgresql_says_503_and_goes_on_by_itself(hub, feed, post):
    with hub.without("postgres"):
        hub.restart_web()
        assert post(0) == COME_BACK
    wait_for(lambda: post(0) == STORED, seconds=2 * ANSWERS_WITHIN)


def test_ingest_does_without_redis(hub, feed, post):
    with hub.without("redis"):
        assert [post(0), post(1, 5000)] == [STORED, STORED]
        hub.restart_web()
        assert [post(5001), post(5002, 5000)] == [STORED, STORED]
    assert post(10_002) == STORED
    assert hub.count_readings(feed.device) == 10_003


def test_ingest_does_with_a_redis_that_hangs(hub, feed, post):
    with hub.stores.hung("redis"):
        assert [post(0), post(1, 5000), post(5001)] == [STORED] * 3
    assert hub.count_readings(feed.device) == 5002


def test_what_waits_for_a_postgresql_that_hangs_is_stored_once_it_goes_on(hub, feed, post):
    assert post(0) == STORED
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(post(1))) for _ in range(3)]
    with hub.stores.hung("postgres"):
        for thread in waiting:
            thread.start()
        time.sleep(1)
    for thread in waiting:
        thread.join()
    assert answers == [STORED] * 3
    assert hub.count_readings(feed.device) == 2


def test_ingest_says_503_while_postgresql_hangs(hub, post):
    assert post(0) == STORED
    with hub.stores.hung("postgres"):
        assert post(1) == COME_BACK


def test_large_body_whose_web_process_is_killed_while_it_comes_in_leaves_nothing(hub, feed, post):
    body = feed.body(0, 50_000)
    head = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body.content)}\r\n{head}\r\n"
    with socket.create_connection(("127.0.0.1", hub.port)) as half:
        half.sendall(head.encode() + body.content[: len(body.content) // 2])
        hub.restart_web()
    assert hub.count_readings(feed.device) == 0
    assert post(0, 50_000) == STORED


@pytest.mark.parametrize("moment", [0.05, 0.3])
def test_large_body_whose_web_process_is_killed_is_stored_whole_or_not(hub, feed, post, moment):
    def send() -> None:
        with suppress(OSError, HTTPException):
            post(0, 50_000)

    sending = threading.Thread(target=send)
    sending.start()
    time.sleep(moment)
    hub.restart_web()
    sending.join()
    assert hub.count_readings(feed.device) in (0, 50_000)
    assert post(0, 50_000) == STORED
    assert hub.count_readings(feed.device) == 50_000


def test_whatever_is_killed_every_receipt_holds(hub, chief, request, seed, say):
    minutes = request.config.getoption("faults_minutes")
    say(f"seed {seed}")
    feeds = fleet(chief)
    ledger = Ledger(LOGS / "attempts.log")
    strikes = Strikes(hub, Random(f"{seed} strikes"), say if minutes else lambda sentence: None)
    with WebhookReceiver() as hook:
        watches = watch.set_up(chief, [feed for feed in feeds if "level" in feed.metrics], hook)
        with sending(feeds, ledger, hub, seed):
            strikes.long(minutes) if minutes else strikes.short()
        stopped = time.monotonic()
        wrong = hub.settle()
        say(f"{story(ledger, strikes)}; the chain settled {time.monotonic() - stopped:.0f} seconds later")
        wrong += proof.differences(hub, ledger) + watch.differences(hub, watches, hook)
        wrong += ledger.wrong + ledger.unexplained(strikes.crashes)
    assert not wrong, "\n".join([f"with seed {seed}:", *wrong[:20]])
    assert ledger.failures, "nothing was under way when something was killed"


def story(ledger: Ledger, strikes: Strikes) -> str:
    accounts = ledger.accounts.values()
    return (
        f"{strikes.count} kills; {ledger.attempts} requests, {ledger.failures} of them failed and were repeated; "
        f"{sum(account.accepted for account in accounts)} readings counted as accepted, and "
        f"{sum(len(account.uncounted) for account in accounts)} bodies stored whose receipt was lost"
    )
