import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.devices import services as device_services
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, DeviceTypeFactory
from apps.events.models import Event
from apps.rules import evaluation, locks, services, silence
from apps.rules.evaluation import evaluate_pending
from apps.rules.models import RuleState
from apps.rules.tests.factories import RuleFactory
from apps.telemetry.ingest import store
from apps.telemetry.models import WatchedBatch

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def rule(device):
    return RuleFactory(device=device)


@pytest.fixture
def series(rule, device):
    return DeviceMetricFactory(device=device, metric=rule.metric)


def readings_come_in(series, *samples, shard=3):
    """Puts (minute, value) samples into the outbox, as the writer does."""
    at = int(NOW.timestamp() * 1_000_000)
    watched = [(shard, series.pk, at + minute * 60_000_000, value) for minute, value in samples]
    with connection.cursor() as cursor:
        cursor.execute(store.adding_watched(cursor.cursor, watched))


@pytest.mark.django_db
class TestEvents:
    def test_crossing_opens_one_event_that_names_the_deciding_reading(self, rule, series):
        readings_come_in(series, (0, 70.0), (1, 85.0), (2, 90.0))
        evaluate_pending(now=NOW)

        event = Event.objects.get()
        assert (event.rule, event.device, event.device_metric) == (rule, series.device, series)
        assert event.timestamp == event.reading_ts == NOW + timedelta(minutes=1)
        assert event.metadata["reading"]["value"] == 85.0
        assert event.message == "Hot bearing: temperature > 80, measured 85 on Press 1"
        assert not WatchedBatch.objects.exists()

    def test_coming_back_resolves_the_event(self, series):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        readings_come_in(series, (1, 70.0))
        evaluate_pending(now=NOW)

        event = Event.objects.get()
        assert event.status == Event.Status.RESOLVED
        assert event.resolved_by is None

    def test_batches_split_anywhere_give_the_same_events(self, series):
        samples = [(minute, 85.0 if minute % 7 in (3, 4) else 70.0) for minute in range(50)]
        readings_come_in(series, *samples[:11])
        evaluate_pending(now=NOW)
        readings_come_in(series, *samples[11:40])
        readings_come_in(series, *samples[40:])
        evaluate_pending(now=NOW)

        opened = [event.timestamp for event in Event.objects.order_by("timestamp")]
        assert opened == [NOW + timedelta(minutes=minute) for minute in range(3, 50, 7)]

    def test_reading_judged_twice_changes_nothing(self, series):
        readings_come_in(series, (0, 70.0), (1, 85.0), (2, 70.0))
        evaluate_pending(now=NOW)
        readings_come_in(series, (0, 70.0), (1, 85.0), (2, 70.0))
        evaluate_pending(now=NOW)

        assert Event.objects.count() == 1

    def test_events_of_many_series_at_once_take_no_more_statements_than_one(self, rule, device):
        rule.device, rule.device_type = None, device.device_type
        rule.save()
        flapping = ((0, 85.0), (1, 70.0), (2, 85.0), (3, 70.0), (4, 85.0))
        statements = []
        for count in (1, 20):
            for _ in range(count):
                one = DeviceFactory(device_type=device.device_type, owner=rule.owner)
                readings_come_in(DeviceMetricFactory(device=one, metric=rule.metric), *flapping)
            with CaptureQueriesContext(connection) as queries:
                evaluate_pending(now=NOW)
            statements.append(len(queries))

        assert statements[0] == statements[1]
        assert (Event.objects.count(), Event.objects.open().count()) == (63, 21)

    def test_rule_remembers_when_it_was_last_triggered(self, rule, series):
        readings_come_in(series, (1, 85.0))
        evaluate_pending(now=NOW)

        rule.refresh_from_db()
        assert rule.last_triggered_at == NOW + timedelta(minutes=1)

    def test_rule_of_a_type_judges_each_device_of_the_owner(self, rule, series, alex, jordan):
        rule.device, rule.device_type = None, series.device.device_type
        rule.save()
        others = [
            DeviceMetricFactory(metric=rule.metric, device=DeviceFactory(owner=owner, device_type=rule.device_type))
            for owner in (alex, jordan)
        ]
        for one in (series, *others):
            readings_come_in(one, (0, 85.0))
        evaluate_pending(now=NOW)

        assert {event.device_metric for event in Event.objects.all()} == {series, others[0]}

    def test_disabled_rule_judges_nothing(self, rule, series):
        rule.is_enabled = False
        rule.save()
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)

        assert not Event.objects.exists()

    def test_pass_takes_all_shards_that_wait(self, series):
        statements = []
        for start, shards in ((0, [2]), (1, [3]), (2, range(16))):
            for minute, shard in enumerate(shards, start):
                readings_come_in(series, (minute, 70.0), shard=shard)
            with CaptureQueriesContext(connection) as queries:
                assert evaluate_pending(now=NOW) == len(shards)
            statements.append(len(queries))

        assert statements[1] == statements[2]  # the first also learns which rules there are

    def test_worker_leaves_shards_to_others_where_much_waits(self, series, monkeypatch):
        monkeypatch.setattr(evaluation, "BYTES_AT_ONCE", 100)
        for shard in range(16):
            readings_come_in(series, (shard, 85.0), shard=shard)

        assert evaluation.evaluate_once(now=NOW) <= evaluation.SHARE
        evaluate_pending(now=NOW)
        assert not WatchedBatch.objects.exists()

    def test_batch_that_cannot_be_judged_is_set_aside_and_the_others_pass(self, series):
        WatchedBatch.objects.create(shard=3, payload=b"\xc1 no MessagePack")
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)

        assert Event.objects.count() == 1
        assert WatchedBatch.objects.get().error


@pytest.mark.django_db
class TestWatching:
    @staticmethod
    def is_watched(series):
        series.refresh_from_db()
        return series.is_watched

    def test_series_are_watched_while_a_rule_judges_them(self, rule, series):
        services.save_rule(rule=rule, now=NOW)
        assert self.is_watched(series)

        rule.is_enabled = False
        services.save_rule(rule=rule, now=NOW)
        assert not self.is_watched(series)

    def test_rule_for_another_device_watches_that_one_instead(self, rule, series, alex):
        services.save_rule(rule=rule, now=NOW)
        rule.device = DeviceFactory(owner=alex)
        other = DeviceMetricFactory(device=rule.device, metric=rule.metric)
        services.save_rule(rule=rule, now=NOW)

        assert (self.is_watched(series), self.is_watched(other)) == (False, True)

    def test_series_that_another_rule_asks_for_stays_watched(self, rule, series):
        for one in (rule, other := RuleFactory(device=rule.device, metric=rule.metric)):
            services.save_rule(rule=one, now=NOW)
        services.delete_rule(rule=other, now=NOW)

        assert self.is_watched(series)

    def test_rule_of_a_type_watches_its_owners_devices_only(self, rule, series, alex, jordan):
        rule.device, rule.device_type = None, series.device.device_type
        mine, theirs = (
            DeviceMetricFactory(metric=rule.metric, device=DeviceFactory(owner=owner, device_type=rule.device_type))
            for owner in (alex, jordan)
        )
        services.save_rule(rule=rule, now=NOW)

        assert [self.is_watched(one) for one in (series, mine, theirs)] == [True, True, False]

    def test_saving_a_rule_looks_at_no_other_series(self, rule, series):
        other = DeviceMetricFactory(is_watched=True)
        services.save_rule(rule=rule, now=NOW)

        assert self.is_watched(other)
        services.settle(now=NOW)
        assert not self.is_watched(other)

    def test_device_that_changes_its_type_is_let_go(self, rule, series, django_capture_on_commit_callbacks):
        rule.device, rule.device_type = None, series.device.device_type
        services.save_rule(rule=rule, now=NOW)
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        with django_capture_on_commit_callbacks(execute=True):
            device_services.update_device(device=series.device, device_type=DeviceTypeFactory(name="Lathe"))

        assert not self.is_watched(series)
        assert Event.objects.get().status == Event.Status.RESOLVED
        assert not RuleState.objects.exists()

    def test_device_that_comes_to_a_type_is_watched(self, rule, series, django_capture_on_commit_callbacks):
        rule.device, rule.device_type = None, DeviceTypeFactory(name="Lathe")
        services.save_rule(rule=rule, now=NOW)
        assert not self.is_watched(series)
        with django_capture_on_commit_callbacks(execute=True):
            device_services.update_device(device=series.device, device_type=rule.device_type)

        assert self.is_watched(series)


@pytest.mark.django_db
class TestSavingRules:
    def test_changed_condition_starts_afresh_and_resolves_what_was_open(self, rule, series):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        rule.condition = rule.condition | {"threshold": 100}
        services.save_rule(rule=rule, now=NOW)

        assert Event.objects.get().status == Event.Status.RESOLVED
        assert not RuleState.objects.exists()

    def test_renamed_rule_goes_on_as_it_was(self, rule, series):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        rule.name = "Very hot bearing"
        services.save_rule(rule=rule, now=NOW)

        assert Event.objects.get().status == Event.Status.NEW

    def test_deleted_rule_leaves_its_events(self, rule, series):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        services.delete_rule(rule=rule, now=NOW)

        event = Event.objects.get()
        assert (event.rule, event.status) == (None, Event.Status.RESOLVED)


@pytest.mark.django_db(transaction=True)
class TestTwoWorkers:
    def test_shard_that_a_worker_holds_is_left_to_it(self, series):
        readings_come_in(series, (0, 85.0))
        held, release = threading.Event(), threading.Event()

        def other_worker():
            with transaction.atomic():
                locks.lock_shard(3)
                held.set()
                release.wait(10)
            connection.close()

        thread = threading.Thread(target=other_worker)
        thread.start()
        held.wait(10)
        judged_meanwhile = evaluate_pending(now=NOW)
        release.set()
        thread.join()

        assert judged_meanwhile == 0
        assert evaluate_pending(now=NOW) == 1
        assert Event.objects.count() == 1

    def test_workers_at_once_open_what_one_would(self, series):
        for minute in range(60):
            readings_come_in(series, (minute, 85.0 if minute % 2 else 70.0))

        def work():
            evaluate_pending(now=NOW)
            connection.close()

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        evaluate_pending(now=NOW)

        assert Event.objects.count() == 30
        assert Event.objects.open().count() == 1

    def test_rule_is_not_changed_while_it_is_judged(self, rule, series):
        held, release, saved = threading.Event(), threading.Event(), threading.Event()

        def judging():
            with transaction.atomic():
                locks.share_rules()
                held.set()
                release.wait(10)
            connection.close()

        def saving():
            held.wait(10)
            services.save_rule(rule=rule, now=NOW)
            saved.set()
            connection.close()

        threads = [threading.Thread(target=judging), threading.Thread(target=saving)]
        for thread in threads:
            thread.start()
        assert not saved.wait(0.5)
        release.set()
        for thread in threads:
            thread.join()
        assert saved.is_set()

    def test_silence_that_two_sweeps_find_opens_one_event(self, rule, series):
        rule.condition = {"type": "no_data", "after": "1m"}
        services.save_rule(rule=rule, now=NOW)
        silence.check(now=NOW)

        def sweep():
            silence.check(now=NOW + timedelta(minutes=5))
            connection.close()

        threads = [threading.Thread(target=sweep) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert Event.objects.count() == 1
        assert RuleState.objects.get().openings == 1
