"""Rate limits: leases shared through Redis, Redis away, and what a sender sees of them."""

import socket
import threading
import time
from concurrent.futures import Future
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection, transaction

from apps.devices.models import DeviceKey
from apps.telemetry.ingest.errors import IngestError, TooManyRequests, WouldBlock
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.http import Request
from apps.telemetry.ingest.limits import Charge, Limit, Limiter
from apps.telemetry.ingest.shared_buckets import PAUSE_SECONDS, PREFIX, SharedBuckets
from apps.telemetry.tests.conftest import answer_to, issue


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter(clock):
    """`limiter()` is the limiter of one more process on the same Redis."""
    return lambda: Limiter(SharedBuckets(time=clock), clock)


@pytest.fixture(autouse=True)
def _no_debt_is_left():
    yield
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    for bucket in client.scan_iter(f"{PREFIX}*"):
        client.delete(bucket)
    client.close()


def messages_limit(per_minute: int, of: str = "key") -> Limit:
    return Limit(of, counts_readings=False, per_minute=per_minute, bucket=f"test:{uuid4()}")


def readings_limit(per_minute: int) -> Limit:
    return Limit("key", counts_readings=True, per_minute=per_minute, bucket=f"test:{uuid4()}")


def let_in(limiter: Limiter, charge: Charge, times: int) -> int:
    """How many of so many requests are let in."""
    count = 0
    for _ in range(times):
        try:
            limiter.take(charge, may_block=True)
        except TooManyRequests:
            continue
        count += 1
    return count


class TestLimiter:
    @pytest.mark.parametrize("per_minute", [7, 60, 6_000])
    def test_two_processes_let_in_together_what_the_limit_says(self, limiter, per_minute):
        one, two = limiter(), limiter()
        charge = Charge((messages_limit(per_minute),), messages=1, readings=3)
        count = 0
        for _ in range(per_minute):
            count += let_in(one, charge, 1) + let_in(two, charge, 1)
        assert count == per_minute

    def test_second_process_learns_when_the_debt_of_the_first_is_worked_off(self, limiter, clock):
        limit = readings_limit(600)
        limiter().take(Charge((limit,), 1, 50_000), may_block=True)
        with pytest.raises(TooManyRequests) as refused:
            limiter().take(Charge((limit,), 1, 1), may_block=True)

        assert refused.value.retry_after == 4941  # (50,000 − 600 + 1) / 10 per second, rounded up
        assert refused.value.members == {"limit": {"of": "key", "unit": "readings", "per_minute": 600}}
        clock.now += refused.value.retry_after
        limiter().take(Charge((limit,), 1, 1), may_block=True)

    def test_leased_tokens_are_spent_without_redis(self, limiter):
        process, charge = limiter(), Charge((messages_limit(60_000), readings_limit(600_000)), 1, 3)
        with pytest.raises(WouldBlock):
            process.take(charge, may_block=False)
        process.take(charge, may_block=True)
        for _ in range(1000):
            process.take(charge, may_block=False)
        with pytest.raises(WouldBlock):
            process.take(charge, may_block=False)

    def test_refused_request_takes_nothing_from_its_other_limits(self, limiter):
        tight, wide = messages_limit(60), readings_limit(600)
        process = limiter()
        process.take(Charge((wide,), 0, 1), may_block=True)
        process.take(Charge((tight,), 100, 0), may_block=True)
        assert let_in(process, Charge((tight, wide), 1, 1), 100) == 0
        assert let_in(process, Charge((wide,), 0, 1), 700) == 599

    def test_who_was_refused_is_refused_again_without_redis_until_the_time_has_come(self, limiter, clock):
        process, limit = limiter(), messages_limit(60)
        charge = Charge((limit,), 1, 1)
        process.take(Charge((limit,), 60, 1), may_block=True)
        with pytest.raises(TooManyRequests):
            process.take(charge, may_block=True)
        with pytest.raises(TooManyRequests) as refused:
            process.take(charge, may_block=False)
        assert refused.value.retry_after == 1
        with pytest.raises(TooManyRequests):
            process.check(charge.limits)
        clock.now += 1
        process.check(charge.limits)
        process.take(charge, may_block=True)

    def test_what_is_given_back_can_be_taken_again(self, limiter):
        process, charge = limiter(), Charge((messages_limit(60),), 50_000, 1)
        process.take(charge, may_block=True)
        process.give_back(charge)
        process.take(charge, may_block=True)
        assert let_in(process, charge, 1) == 0

    def test_changed_limit_starts_with_a_new_bucket(self, post, device, admin, api, ingesting):
        key = issue(device, messages_per_minute=1)
        assert [post(MESSAGE, key=key).status_code for _ in range(2)] == [201, 429]
        pk = DeviceKey.objects.get(digest=DeviceKey.digest_of(key)).pk
        api(admin).patch(f"/api/v1/devices/{device.pk}/keys/{pk}/", {"messages_per_minute": 2})
        ingesting.watcher.poll()
        assert [post(MESSAGE, key=key).status_code for _ in range(3)] == [201, 201, 429]


class TestRedisAway:
    @pytest.fixture
    def silent_redis(self):
        """Takes connections and never answers. Its `accepted` counts them."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)
            server_thread = SilentServer(server)
            server_thread.start()
            yield server_thread
            server_thread.stop()

    def test_each_process_limits_by_itself_and_says_so_once(self, clock, caplog):
        process = Limiter(SharedBuckets("unix:///nowhere/redis.sock"), clock)
        assert let_in(process, Charge((messages_limit(60),), 1, 1), 100) == 60
        assert len(said(caplog)) == 1

    def test_after_one_failure_nobody_waits_for_redis(self, clock, silent_redis):
        process = Limiter(SharedBuckets(silent_redis.url), clock)
        charge = Charge((messages_limit(60_000),), 1_100, 1)
        assert let_in(process, charge, 20) == 20
        process.take(Charge((messages_limit(60),), 1, 1), may_block=False)  # not even where waiting is allowed
        assert silent_redis.accepted == 1
        clock.now += PAUSE_SECONDS + 1
        assert let_in(process, charge, 20) == 20
        assert silent_redis.accepted == 2

    def test_limits_are_shared_again_when_redis_is_back(self, clock, caplog):
        shared = SharedBuckets("unix:///nowhere/redis.sock", time=clock)
        one, limit = Limiter(shared, clock), messages_limit(60)
        assert let_in(one, Charge((limit,), 1, 1), 10) == 10
        shared.__dict__.pop("_script")
        shared._url = None
        clock.now += PAUSE_SECONDS + 1
        assert let_in(one, Charge((limit,), 1, 1), 100) == 60
        assert let_in(Limiter(SharedBuckets(time=clock), clock), Charge((limit,), 1, 1), 1) == 0
        assert [line[:13] for line in said(caplog)] == ["Redis is away", "Redis is back"]


def said(caplog) -> list[str]:
    return [record.message for record in caplog.records if record.name.endswith("shared_buckets")]


class SilentServer(threading.Thread):
    def __init__(self, server: socket.socket):
        super().__init__(daemon=True)
        self._server = server
        self._connections = []
        self.accepted = 0
        self.url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    def run(self):
        while True:
            accepted, _ = self._server.accept()
            self._connections.append(accepted)
            if accepted.getpeername() == self._mine:
                return
            self.accepted += 1

    _mine = None

    def stop(self):
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._mine = last.getsockname()
            last.connect(self._server.getsockname())
            self.join(5)
        for accepted in self._connections:
            accepted.close()


MESSAGE = {"metrics": {"vibration": 5.2}}


@pytest.mark.django_db(transaction=True)
class TestSenders:
    @pytest.fixture(autouse=True)
    def _time_stands_still(self, ingesting, limiter, monkeypatch):
        monkeypatch.setattr(ingesting, "limiter", limiter())

    def test_too_many_messages_are_answered_by_429_with_retry_after(self, post, device):
        key = issue(device, messages_per_minute=3)
        answers = [post(MESSAGE, key=key) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert answers[-1].headers["Retry-After"] == "20"
        assert answers[-1].headers["Content-Type"] == "application/problem+json"
        assert answers[-1].json() == {
            "type": "about:blank",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "This key may send 3 messages a minute. Come back in 20 s.",
            "limit": {"of": "key", "unit": "messages", "per_minute": 3},
        }

    def test_backlog_is_stored_in_one_piece_and_what_follows_waits(self, post, device):
        key = issue(device, readings_per_minute=60)
        newest = int(time.time() * 1000)
        backlog = [{"timestamp": newest - n, "metrics": {"a": 1.0, "b": 2.0}} for n in range(500)]
        assert post(backlog, key=key).json()["accepted"] == 1000

        refused = post(MESSAGE, key=key)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "941"
        assert refused.json()["limit"]["unit"] == "readings"

    def test_setting_holds_where_the_key_has_no_limit_of_its_own(self, post, device, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"KEY_MESSAGES_PER_MINUTE": 2}
        free = issue(device, messages_per_minute=0)

        assert [post(MESSAGE).status_code for _ in range(3)] == [201, 201, 429]
        assert [post(MESSAGE, key=free).status_code for _ in range(5)] == [201] * 5

    def test_keys_of_an_owner_share_the_owners_limit(self, post, device, alex):
        type(alex).objects.update(messages_per_minute=3)
        one, two = issue(device), issue(device)
        answers = [post(MESSAGE, key=key) for key in (one, two, one, two)]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert answers[-1].json()["limit"] == {"of": "owner", "unit": "messages", "per_minute": 3}

    def test_person_is_limited_like_an_owner(self, post, device, alex, settings, client):
        type(alex).objects.update(messages_per_minute=3)
        login = {"username": "alex", "password": "a-Long-passw0rd"}
        for _ in range(2):
            token = client.post("/api/v1/auth/token/", login, "application/json").json()["access"]
            bearer = {"Authorization": f"Bearer {token}"}
            message = MESSAGE | {"serial_number": device.serial_number}
            codes = [post(message, key=None, headers=bearer).status_code for _ in range(2)]
        assert codes == [201, 429]

    def test_person_without_a_limit_counts_as_one_key(self, post, device, alex, settings, client):
        settings.TELEMETRY = settings.TELEMETRY | {"KEY_MESSAGES_PER_MINUTE": 2}
        login = {"username": "alex", "password": "a-Long-passw0rd"}
        token = client.post("/api/v1/auth/token/", login, "application/json").json()["access"]
        bearer, message = {"Authorization": f"Bearer {token}"}, MESSAGE | {"serial_number": device.serial_number}

        answers = [post(message, key=None, headers=bearer) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert answers[-1].json()["limit"]["of"] == "account"

    def test_change_by_an_admin_holds_as_soon_as_the_caches_heard_of_it(self, post, ingesting, key, alex):
        assert post(MESSAGE).status_code == 201
        DeviceKey.objects.update(messages_per_minute=1)
        ingesting.watcher.poll()
        assert [post(MESSAGE).status_code for _ in range(2)] == [201, 429]
        DeviceKey.objects.update(messages_per_minute=None)
        type(alex).objects.update(messages_per_minute=1)
        ingesting.watcher.poll()
        assert [post(MESSAGE).status_code for _ in range(2)] == [201, 429]

    def test_requests_that_are_refused_anyway_cost_nothing(self, post, device):
        key = issue(device, messages_per_minute=1)
        assert post(b"[{", key=key).status_code == 400
        assert post(b"<xml/>", key=key, content_type="application/xml").status_code == 415
        assert post(MESSAGE, key=key).status_code == 201

    def test_request_taken_up_again_in_a_thread_pays_once(self, post, device, ingesting):
        """On the event loop it pays from the lease, then finds that it has to ask the database."""
        key = issue(device, messages_per_minute=600)
        body, codes = b"[" + b",".join([b'{"metrics": {"vibration": 5.2}}'] * 5) + b"]", []
        for _ in range(121):
            ingesting.catalog.drop()
            request = Request(format=JsonMessages(), body=body, authorization=f"Token {key}")
            codes.append(answer_to(request).status)

        assert codes == [201] * 120 + [429]

    def test_request_that_the_store_had_no_room_for_pays_nothing(self, post, device, ingesting, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"MAX_QUEUED_READINGS": 1}
        key = issue(device, messages_per_minute=10)
        assert post(MESSAGE, key=key).status_code == 201

        def send() -> tuple[Request, Future]:
            body = b'{"metrics": {"vibration": 1.0}}'
            request, outcome = Request(format=JsonMessages(), body=body, authorization=f"Token {key}"), Future()
            try:
                ingesting.submit(ingesting.prepare(request, may_block=True), outcome.set_result)
            except IngestError as error:
                outcome.set_result(error)
            return request, outcome

        def status(request: Request, outcome: Future) -> int:
            return ingesting.answer(request, outcome.result(10)).status

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
            sent = [send()]
            while not sent[-1][1].done():
                sent.append(send())
        statuses = [status(*one) for one in sent]
        stored = 1 + statuses.count(201)
        assert statuses[-1] == 503
        assert [status(*send()) for _ in range(11 - stored)] == [201] * (10 - stored) + [429]
