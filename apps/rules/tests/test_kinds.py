"""Rules of every kind from outbox to event: several metrics, silence, and readings that come late."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.devices.tests.factories import DeviceMetricFactory, MetricFactory
from apps.events.models import Event
from apps.rules import services, silence
from apps.rules.evaluation import evaluate_pending
from apps.rules.models import Rule, RuleState
from apps.rules.tests.factories import RuleFactory
from apps.rules.tests.readings import NOW, readings_are_stored, readings_come_in
from apps.telemetry.models import WatchedBatch

pytestmark = pytest.mark.django_db

HOT = {"type": "threshold", "operator": "gt", "threshold": 80}


@pytest.fixture
def rule(device):
    return RuleFactory(device=device)


@pytest.fixture
def series(rule, device):
    return DeviceMetricFactory(device=device, metric=rule.metric)


def judges(rule, **fields):
    for name, value in fields.items():
        setattr(rule, name, value)
    services.save_rule(rule=rule, now=NOW)


class TestSeveralMetrics:
    @pytest.fixture
    def fan(self, device):
        return DeviceMetricFactory(device=device, metric=MetricFactory(name="Fan_on", data_type="boolean"))

    @pytest.fixture(autouse=True)
    def _hot_without_fan(self, rule, fan):
        still = {"metric": "fan_on", "type": "threshold", "operator": "eq", "threshold": False}
        judges(rule, condition={"type": "all", "conditions": [HOT | {"metric": "temperature"}, still]})

    def test_every_series_it_asks_for_is_watched(self, series, fan, rule):
        services.settle(now=NOW)
        for one in (series, fan):
            one.refresh_from_db()
            assert one.is_watched

    def test_event_is_the_rules_own_series_and_names_all_values(self, series, fan):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)
        readings_come_in(fan, (1, False))
        evaluate_pending(now=NOW)

        event = Event.objects.get()
        assert (event.device_metric, event.timestamp) == (series, NOW + timedelta(minutes=1))
        assert event.metadata["reading"]["value"] == 85.0
        assert event.metadata["reading"]["values"] == {"temperature": 85.0, "fan_on": False}
        assert event.message.endswith("measured temperature 85, fan_on false on Press 1")

    def test_values_of_one_message_are_judged_together(self, series, fan):
        readings_come_in(series, (0, 70.0), (1, 85.0), also=[(fan, 0, False), (fan, 1, True)])
        evaluate_pending(now=NOW)

        assert not Event.objects.exists()

    def test_coming_back_of_either_resolves_it(self, series, fan):
        readings_come_in(series, (0, 85.0), also=[(fan, 0, False)])
        readings_come_in(fan, (1, True))
        evaluate_pending(now=NOW)

        assert Event.objects.get().status == Event.Status.RESOLVED

    def test_renamed_metric_is_still_the_one_meant(self, series, fan):
        fan.metric.name = "ventilator"
        fan.metric.save()
        readings_come_in(series, (0, 85.0), also=[(fan, 0, False)])
        evaluate_pending(now=NOW)

        assert Event.objects.count() == 1


class TestSilence:
    @pytest.fixture(autouse=True)
    def _silent(self, rule, series):
        judges(rule, condition={"type": "no_data", "after": "10m"})

    @pytest.fixture
    def start(self):
        """Batches are dated by the database."""
        return timezone.now()

    def test_silence_opens_one_event_and_a_reading_resolves_it(self, series, start):
        readings_come_in(series, (0, 1.0))
        evaluate_pending(now=start)
        for minute in (9, 11, 12):
            silence.check(now=start + timedelta(minutes=minute))

        event = Event.objects.get()
        assert event.status == Event.Status.NEW
        assert event.reading_ts is None
        assert "no temperature for 10m" in event.message
        readings_come_in(series, (1, 1.0))
        evaluate_pending(now=start)
        event.refresh_from_db()
        assert event.status == Event.Status.RESOLVED

    def test_series_that_never_reported_is_silent_from_when_the_rule_began(self, start):
        silence.check(now=start)
        silence.check(now=start + timedelta(minutes=9))
        assert not Event.objects.exists()
        silence.check(now=start + timedelta(minutes=11))
        assert Event.objects.count() == 1

    def test_silence_before_the_rule_counts_and_dates_the_event_no_earlier_than_the_rule(self, series):
        readings_are_stored(series, (-60, 1.0))
        silence.check(now=NOW)
        silence.check(now=NOW + timedelta(seconds=10))

        assert Event.objects.get().timestamp == NOW

    def test_what_waits_to_be_judged_may_end_the_silence(self, series, start):
        readings_come_in(series, (0, 1.0))
        evaluate_pending(now=start)
        readings_come_in(series, (1, 1.0))
        silence.check(now=start + timedelta(minutes=11))

        assert not Event.objects.exists()

    def test_device_out_of_use_may_be_silent(self, series, device, start):
        readings_come_in(series, (0, 1.0))
        evaluate_pending(now=start)
        device.status = "inactive"
        device.save()
        silence.check(now=start + timedelta(minutes=11))
        assert not Event.objects.exists()

        device.status = "active"
        device.save()
        silence.check(now=start + timedelta(minutes=12))
        assert not Event.objects.exists()
        silence.check(now=start + timedelta(minutes=22))
        assert Event.objects.count() == 1

    def test_rhythm_is_learned_from_stored_readings(self, rule, series):
        judges(rule, condition={"type": "no_data", "factor": 3})
        readings_are_stored(series, *[(minute - 40, 1.0) for minute in range(0, 40, 2)])
        silence.check(now=NOW)

        assert RuleState.objects.get().due_at == NOW + timedelta(minutes=-2 + 6)


class TestLateReadings:
    def judged(self, series, *samples):
        readings_come_in(series, *samples)
        evaluate_pending(now=NOW)

    def test_late_reading_that_holds_is_remembered_and_pages_nobody(self, series):
        self.judged(series, (0, 70.0), (10, 70.0))
        self.judged(series, (5, 85.0), (6, 90.0))

        event = Event.objects.get()
        assert (event.status, event.timestamp) == (Event.Status.RESOLVED, NOW + timedelta(minutes=5))
        assert event.metadata["retroactive"] is True
        assert RuleState.objects.get().late_readings == 2

    def test_late_reading_within_an_event_adds_none(self, series):
        self.judged(series, (0, 85.0), (10, 70.0))
        self.judged(series, (5, 90.0))

        assert Event.objects.count() == 1

    def test_late_readings_change_neither_state_nor_cooldown(self, rule, series):
        judges(rule, cooldown_minutes=60)
        self.judged(series, (10, 70.0))
        self.judged(series, (5, 85.0))
        self.judged(series, (11, 85.0))

        assert Event.objects.filter(status=Event.Status.NEW).count() == 1

    def test_backlog_of_episodes_is_bounded(self, series):
        self.judged(series, (1000, 70.0))
        self.judged(series, *[(minute, 85.0 if minute % 2 else 70.0) for minute in range(100)])

        assert Event.objects.count() == 10

    def test_late_readings_that_last_for_the_duration_are_an_episode(self, rule, series):
        judges(rule, condition=HOT | {"for": "5m"})
        self.judged(series, (20, 70.0))
        self.judged(series, (5, 85.0), (7, 85.0), (10, 85.0), (12, 85.0), (13, 70.0))

        event = Event.objects.get()
        assert event.timestamp == NOW + timedelta(minutes=10)
        assert event.metadata["cleared"] == (NOW + timedelta(minutes=12)).isoformat()

    def test_late_readings_shorter_than_the_duration_are_none(self, rule, series):
        judges(rule, condition=HOT | {"for": "5m"})
        self.judged(series, (20, 70.0))
        self.judged(series, (5, 85.0), (9, 85.0))

        assert not Event.objects.exists()

    def test_reading_judged_in_time_breaks_the_duration(self, rule, series):
        judges(rule, condition=HOT | {"for": "5m"})
        readings_are_stored(series, (5, 85.0), (7, 70.0), (10, 85.0))
        self.judged(series, (7, 70.0), (20, 70.0))
        self.judged(series, (5, 85.0), (10, 85.0))

        assert not Event.objects.exists()

    def test_condition_with_a_memory_does_not_guess(self, rule, series):
        judges(rule, condition={"type": "rate_of_change", "operator": "gt", "threshold": 1})
        self.judged(series, (20, 70.0))
        self.judged(series, (5, 85.0), (6, 185.0))

        assert not Event.objects.exists()


class TestChangedRules:
    def test_changed_rule_counts_from_the_next_batch_on(self, rule, series):
        readings_come_in(series, (0, 70.0))
        evaluate_pending(now=NOW)
        Rule.objects.filter(pk=rule.pk).update(condition=HOT | {"threshold": 60})
        readings_come_in(series, (1, 70.0))
        evaluate_pending(now=NOW)

        assert Event.objects.count() == 1

    def test_state_tells_what_was_kept_away(self, api, alex, rule, series):
        judges(rule, condition=HOT | {"clear_threshold": 75}, cooldown_minutes=60)
        readings_come_in(series, (0, 85.0), (1, 78.0), (2, 70.0), (3, 85.0))
        evaluate_pending(now=NOW)

        (state,) = api(alex).get(f"/api/v1/rules/{rule.pk}/state/").json()
        counts = ("openings", "suppressed_by_cooldown", "absorbed_by_hysteresis")
        assert [state[name] for name in counts] == [1, 1, 1]
        assert (state["state"], state["held_by"]) == ("pending", "cooldown")

    def test_nothing_waits_in_the_outbox(self, series):
        readings_come_in(series, (0, 85.0))
        evaluate_pending(now=NOW)

        assert not WatchedBatch.objects.exists()
