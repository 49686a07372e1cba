"""What ingest remembers of keys, and that it never remembers too long."""

import threading
import time
from contextlib import contextmanager, suppress

import pytest
from django.db import DatabaseError, connection, transaction

from apps.devices.models import Device, DeviceKey
from apps.devices.tests.factories import DeviceFactory
from apps.telemetry.ingest import catalog, credentials, key_use
from apps.telemetry.ingest.catalog import ChangeWatcher
from apps.telemetry.ingest.credentials import Credentials
from apps.telemetry.ingest.errors import Unauthorized
from apps.telemetry.ingest.key_use import KeyUse
from apps.telemetry.tests.conftest import issue

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE = {"metrics": {"vibration": 5.2}}


@pytest.fixture
def watcher():
    """A watcher of the test's own; `watcher.told` is what it told of changes."""
    told = []
    watcher = ChangeWatcher(told.append, every_second=lambda: None)
    watcher.told = told
    watcher.poll()
    told.clear()
    return watcher


@contextmanager
def broken_transaction():
    """The database refuses every statement in it."""
    with suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        with suppress(DatabaseError):
            cursor.execute("SELECT 1 / 0")
        yield


def load_unknown(cache: Credentials, token: str) -> None:
    with pytest.raises(Unauthorized):
        cache.load(token, now=time.time())


class TestCache:
    def test_tokens_that_nobody_knows_drive_out_nobody(self, device, monkeypatch):
        monkeypatch.setattr(credentials, "MAX_UNKNOWN", 10)
        cache, key = Credentials(), issue(device)
        cache.load(key, now=time.time())
        for number in range(25):
            load_unknown(cache, f"iot_{number}")

        assert cache.get(key, now=time.time()) is not None
        assert len(cache._unknown) <= 10
        with pytest.raises(Unauthorized):
            cache.get("iot_24", now=time.time())

    def test_endless_token_is_refused_without_being_kept(self):
        with pytest.raises(Unauthorized):
            Credentials().get("x" * 5000, now=time.time())

    def test_key_ends_when_it_expires_although_it_is_cached(self, device):
        now = float(int(time.time()))
        cache = Credentials()
        key = issue(device, expires_at=credentials.datetime.fromtimestamp(now + 60, credentials.UTC))
        cache.load(key, now=now)
        assert cache.get(key, now=now + 59) is not None
        with pytest.raises(Unauthorized):
            cache.get(key, now=now + 60)

    def test_what_was_read_before_a_change_is_not_kept_after_it(self, device, monkeypatch):
        cache, key = Credentials(), issue(device)
        find = credentials._find_key

        def slow(*args):
            found = find(*args)
            cache.drop()  # the change arrives while the row is on its way
            return found

        monkeypatch.setattr(credentials, "_find_key", slow)
        cache.load(key, now=time.time())
        assert cache.get(key, now=time.time()) is None

    def test_change_of_a_device_forgets_its_keys_only(self, device, alex):
        other = DeviceFactory(owner=alex)
        cache, mine, others, gateways = Credentials(), issue(device), issue(other), issue(device, scope="owner")
        for key in (mine, others, gateways):
            cache.load(key, now=time.time())
        cache.drop({device.pk})
        found = [cache.get(key, now=time.time()) is not None for key in (mine, others, gateways)]
        assert found == [False, True, True]


class TestWatcher:
    def test_tells_devices_or_everything(self, watcher, device):
        Device.objects.filter(pk=device.pk).update(status="error")
        watcher.poll()
        issue(device)
        DeviceKey.objects.update(messages_per_minute=5)
        watcher.poll()
        assert watcher.told[0] == {device.pk}
        assert watcher.told[-1] is None

    @pytest.mark.parametrize("columns", ["revoked_at = now()", "scope = 'owner'", "readings_per_minute = 7"])
    def test_hears_of_keys_changed_in_sql(self, watcher, device, columns):
        issue(device)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE device_keys SET {columns}")
        watcher.poll()
        assert watcher.told == [None]

    def test_last_use_is_no_change(self, watcher, device):
        issue(device)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE device_keys SET last_used_at = now()")
        watcher.poll()
        assert watcher.told == []

    def test_after_a_failure_everything_is_forgotten(self, watcher):
        with broken_transaction(), pytest.raises(DatabaseError):
            watcher.poll()
        watcher.poll()
        watcher.poll()
        assert watcher.told == [None]

    def test_database_whose_transactions_count_from_less_is_another_one(self, watcher):
        watcher._xmin += 1_000_000_000
        watcher.poll()
        watcher.poll()
        assert watcher.told == [None]

    def test_who_slept_longer_than_changes_are_kept_forgets_everything(self, watcher):
        watcher._looked_at -= 2 * catalog.ASLEEP
        watcher.poll()
        assert watcher.told == [None]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_thread_that_died_is_replaced(self, monkeypatch):
        monkeypatch.setattr(catalog, "POLL_SECONDS", 0.01)
        died = threading.Event()

        def die():
            connection.close()
            died.set()
            raise SystemExit

        watcher = ChangeWatcher(lambda _: None, every_second=die)
        watcher.refresh()
        assert died.wait(5)
        watcher._thread.join(5)
        died.clear()
        watcher.refresh()
        assert died.wait(5)
        watcher._thread.join(5)


class TestRequests:
    def test_revoked_key_is_refused_although_the_watcher_is_held_up(self, post, ingesting):
        assert post(MESSAGE).status_code == 201
        DeviceKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
        ingesting.watcher._fresh_until = 0.0
        assert post(MESSAGE).status_code == 401

    def test_device_that_changed_hands_is_out_of_reach_although_the_watcher_is_held_up(
        self, post, ingesting, owner_key, device, jordan
    ):
        message = MESSAGE | {"serial_number": device.serial_number}
        assert post(message, key=owner_key).status_code == 201
        Device.objects.update(owner=jordan)
        ingesting.watcher._fresh_until = 0.0
        assert post(message, key=owner_key).status_code == 400

    def test_keys_of_a_deleted_device_are_refused(self, post, ingesting, device, api, alex):
        assert post(MESSAGE).status_code == 201
        assert api(alex).delete(f"/api/v1/devices/{device.pk}/").status_code == 204
        ingesting.watcher.poll()
        assert post(MESSAGE).status_code == 401

    def test_narrower_scope_holds_at_once(self, post, ingesting, owner_key, device, alex):
        other = DeviceFactory(owner=alex)
        message = MESSAGE | {"serial_number": other.serial_number}
        assert post(message, key=owner_key).status_code == 201
        DeviceKey.objects.update(scope="device")
        ingesting.watcher.poll()
        assert post(message, key=owner_key).status_code == 403

    def test_last_use_of_a_key_is_written(self, post, ingesting, device):
        assert post(MESSAGE).status_code == 201
        ingesting.key_use.write()
        assert DeviceKey.objects.get().last_used_at is not None


class TestKeyUse:
    def test_is_due_once_a_minute_however_often_a_key_is_used(self, device):
        issue(device)
        key, use = DeviceKey.objects.get(), KeyUse()
        times = []
        for now in (1000.0, 1001.0, 1059.0, 1060.0, 1061.0):
            use.note(key.pk, now)
            use.write()
            key.refresh_from_db()
            times.append(key.last_used_at.timestamp())
        assert times == [1000.0, 1000.0, 1000.0, 1060.0, 1060.0]

    def test_what_could_not_be_written_stays_due(self, device, monkeypatch):
        issue(device)
        key, use = DeviceKey.objects.get(), KeyUse()
        use.note(key.pk, 1000.0)
        with broken_transaction(), pytest.raises(DatabaseError):
            use.write()
        use.write()
        key.refresh_from_db()
        assert key.last_used_at.timestamp() == 1000.0

    def test_memory_is_bounded(self, monkeypatch):
        monkeypatch.setattr(key_use, "MAX_NOTED", 10)
        use = KeyUse()
        for pk in range(25):
            use.note(pk, 1000.0)
        assert len(use._noted) <= 10
