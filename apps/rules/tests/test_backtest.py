from datetime import timedelta

import pytest

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.events.models import Event
from apps.rules import backtest
from apps.rules.evaluation import evaluate_pending
from apps.rules.models import Rule, RuleState
from apps.rules.tests.factories import RuleFactory
from apps.rules.tests.readings import NOW, readings_are_stored, readings_come_in

pytestmark = pytest.mark.django_db

URL = "/api/v1/rules/"
RANGE = {"start": NOW.isoformat(), "end": (NOW + timedelta(hours=2)).isoformat()}
SAMPLES = [(minute, 85.0 if minute % 20 in (5, 6, 7) else 70.0) for minute in range(60)]


@pytest.fixture
def rule(device):
    return RuleFactory(
        device=device,
        action_config=[
            {"type": "notification", "template_id": 5, "recipients": ["a@example.com", "b@example.com"]},
            {"type": "stop_machine", "machine_id": "M-123"},
        ],
    )


@pytest.fixture
def series(rule, device):
    return DeviceMetricFactory(device=device, metric=rule.metric)


@pytest.fixture
def ask(api, alex, rule):
    return lambda **body: api(alex).post(f"{URL}{rule.pk}/backtest/", RANGE | body).json()


def at(minute):
    return (NOW + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def test_it_tells_when_the_rule_would_have_fired(ask, series):
    readings_are_stored(series, *SAMPLES)
    answer = ask()

    assert answer["readings"] == 60
    assert [(one["start"], one["end"]) for one in answer["intervals"]] == [
        (at(5), at(8)),
        (at(25), at(28)),
        (at(45), at(48)),
    ]


def test_it_tells_what_would_have_been_sent(ask, series):
    readings_are_stored(series, *SAMPLES)

    assert ask()["would_send"] == [
        {"action": 0, "type": "notification", "template_id": 5, "times": 3, "recipients": 2, "messages": 6},
        {"action": 1, "type": "stop_machine", "template_id": None, "times": 3, "recipients": None, "messages": None},
    ]


def test_it_writes_nothing(ask, series):
    readings_are_stored(series, *SAMPLES)
    ask()

    assert not Event.objects.exists()
    assert not RuleState.objects.exists()


def test_there_is_no_difference_to_what_the_workers_did(ask, series):
    readings_are_stored(series, *SAMPLES)
    readings_come_in(series, *SAMPLES)
    evaluate_pending(now=NOW)

    assert ask()["differences"] == {"events": 3, "missing": [], "unexpected": []}


def test_changed_rule_differs_from_what_happened(ask, rule, series):
    readings_are_stored(series, *SAMPLES, (90, 120.0))
    readings_come_in(series, *SAMPLES)
    evaluate_pending(now=NOW)
    Rule.objects.filter(pk=rule.pk).update(condition=rule.condition | {"threshold": 100})
    differences = ask()["differences"]

    assert [one["start"] for one in differences["missing"]] == [at(90)]
    assert len(differences["unexpected"]) == 3


def test_what_was_firing_before_the_range_is_told_and_sends_nothing(ask, rule, series):
    Rule.objects.filter(pk=rule.pk).update(cooldown_minutes=30)
    readings_are_stored(series, (-10, 85.0), (10, 70.0))
    answer = ask()

    assert [(one["start"], one["end"]) for one in answer["intervals"]] == [(at(-10), at(10))]
    assert answer["openings"] == 0


def test_silence_shows_in_history(ask, rule, series):
    Rule.objects.filter(pk=rule.pk).update(condition={"type": "no_data", "after": "10m"})
    readings_are_stored(series, *[(minute, 1.0) for minute in [*range(20), *range(50, 60)]])

    assert next((one["start"], one["end"]) for one in ask()["intervals"]) == (at(29), at(50))


def test_several_metrics_are_judged_together(api, alex, device, series):
    fan = DeviceMetricFactory(device=device, metric=MetricFactory(name="fan_on", data_type="boolean"))
    readings_are_stored(series, (0, 70.0), (1, 85.0), (2, 85.0), (3, 70.0))
    readings_are_stored(fan, (0, False), (1, True), (2, False), (3, False))
    hot = {"metric": "temperature", "type": "threshold", "operator": "gt", "threshold": 80}
    still = {"metric": "fan_on", "type": "threshold", "operator": "eq", "threshold": False}
    draft = {"device": str(device.pk), "condition": {"type": "all", "conditions": [hot, still]}}
    answer = api(alex).post(f"{URL}backtest/", RANGE | draft).json()

    assert [(one["start"], one["end"]) for one in answer["intervals"]] == [(at(2), at(3))]
    assert answer["differences"] is None


def test_rule_for_a_type_is_tried_on_ones_own_devices_only(api, alex, jordan, device, series):
    other = DeviceFactory(owner=jordan, device_type=device.device_type)
    readings_are_stored(DeviceMetricFactory(device=other, metric=series.metric), *SAMPLES)
    draft = {
        "device_type": str(device.device_type_id),
        "metric": "temperature",
        "condition": {"type": "threshold", "operator": "gt", "threshold": 80},
    }

    assert api(alex).post(f"{URL}backtest/", RANGE | draft).json()["readings"] == 0


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"end": NOW.isoformat()}, "end", "invalid"),
        ({"end": None}, "end", "null"),
        ({"start": "2020-01-01T00:00:00Z"}, "start", "too_large"),
    ],
)
def test_range_that_makes_no_sense_is_refused(ask, body, field, code):
    assert [(error["field"], error["code"]) for error in ask(**body)["errors"]] == [(field, code)]


def test_range_with_too_many_readings_is_refused(ask, series, monkeypatch):
    monkeypatch.setattr(backtest, "MAX_READINGS", 50)
    readings_are_stored(series, *SAMPLES)

    assert ask()["errors"][0]["code"] == "too_large"


def test_draft_of_a_rule_is_checked_like_a_rule(api, alex, device, series):
    draft = {"device": str(device.pk), "metric": "temperature", "condition": {"type": "stuck"}}
    answer = api(alex).post(f"{URL}backtest/", RANGE | draft)

    assert answer.json()["errors"][0]["field"] == "condition.count"
