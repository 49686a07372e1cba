from datetime import timedelta

import pytest

from apps.devices.tests.factories import DeviceMetricFactory
from apps.rules.evaluation import evaluate_pending
from apps.rules.models import Rule
from apps.rules.tests.factories import RuleFactory
from apps.rules.tests.readings import NOW, readings_are_stored, readings_come_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(device):
    return RuleFactory(device=device)


@pytest.fixture
def series(rule, device):
    return DeviceMetricFactory(device=device, metric=rule.metric)


@pytest.fixture
def ask(api, alex, rule):
    def explain(minute, **more):
        params = {"at": (NOW + timedelta(minutes=minute)).isoformat()} | more
        answer = api(alex).get(f"/api/v1/rules/{rule.pk}/explain/", params)
        assert answer.status_code == 200, answer.json()
        return answer.json()

    return explain


def reasons(answer):
    return [reason["reason"] for reason in answer["suppressed_by"]]


def test_inputs_and_state_are_those_of_that_time(ask, series):
    readings_are_stored(series, (0, 70.0), (1, 85.0), (2, 70.0))
    answer = ask(1)

    assert [(one["value"], one["state"]) for one in answer["inputs"]] == [
        (70.0, "normal"),
        (85.0, "firing"),
        (70.0, None),
    ]
    assert answer["state"]["state"] == "firing"


def test_event_that_was_open_is_told_with_its_results(ask, series):
    readings_are_stored(series, (0, 70.0), (1, 85.0), (5, 70.0))
    readings_come_in(series, (0, 70.0), (1, 85.0), (5, 70.0))
    evaluate_pending(now=NOW)

    assert ask(3)["event"]["execution_results"] == []
    assert ask(6)["event"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"condition": {"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m"}}, "duration"),
        ({"cooldown_minutes": 60}, "cooldown"),
        ({"schedule": {"timezone": "UTC", "hours": [{"start": "01:00", "end": "02:00"}]}}, "schedule"),
        ({"is_enabled": False}, "disabled"),
    ],
)
def test_what_suppressed_it_is_named(ask, rule, series, change, reason):
    Rule.objects.filter(pk=rule.pk).update(**change)
    readings_are_stored(series, (0, 85.0), (1, 70.0), (2, 85.0), (3, 85.0))

    assert reasons(ask(3)) == [reason]


def test_inactive_device_is_a_reason(ask, device, series):
    device.status = "inactive"
    device.save()

    assert reasons(ask(3)) == ["inactive_device", "no_readings"]


def test_reading_that_came_late_is_marked_and_was_not_judged(ask, series):
    readings_are_stored(series, (0, 70.0), (2, 70.0))
    readings_are_stored(series, (1, 85.0), received=3)
    answer = ask(3)

    assert [one["is_late"] for one in answer["inputs"]] == [False, True, False]
    assert answer["state"]["state"] == "normal"
    assert reasons(answer) == ["late"]


def test_device_that_the_rule_does_not_judge_is_told_so(ask):
    assert reasons(ask(0)) == ["not_concerned"]


def test_rule_of_another_owner_does_not_exist(api, jordan, rule):
    assert api(jordan).get(f"/api/v1/rules/{rule.pk}/explain/").status_code == 404
