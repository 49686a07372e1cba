"""What can be wrong with a condition over REST is told at its field."""

import pytest

from apps.devices.tests.factories import MetricFactory
from apps.rules.models import Rule

pytestmark = pytest.mark.django_db

URL = "/api/v1/rules/"
THRESHOLD = {"type": "threshold", "operator": "gt", "threshold": 80}
SCHEDULE = {"timezone": "Europe/Vienna", "hours": [{"weekdays": ["mon", "fri"], "start": "22:00", "end": "06:00"}]}


@pytest.fixture(autouse=True)
def _metrics():
    MetricFactory(name="temperature")
    MetricFactory(name="Vibration")
    MetricFactory(name="state", data_type="str")


@pytest.fixture
def write(api, alex, device):
    def post(condition, metric="temperature", **fields):
        document = {"name": "Any", "device": str(device.pk), "metric": metric, "condition": condition} | fields
        return api(alex).post(URL, {key: value for key, value in document.items() if value is not None})

    return post


def several(*conditions, kind="all", **more):
    return {"type": kind, "conditions": list(conditions), **more}


HOT, SHAKING = THRESHOLD | {"metric": "temperature"}, THRESHOLD | {"metric": "vibration", "threshold": 7}


@pytest.mark.parametrize(
    "condition",
    [
        THRESHOLD | {"for": "5m", "clear_threshold": 75},
        {"type": "range", "low": 2, "high": 8, "clear_margin": 0.5, "for": "1m"},
        {"type": "range", "mode": "inside", "low": 2, "high": 8},
        {"type": "rate_of_change", "operator": "gt", "threshold": 5, "per": "hour", "counter": True},
        {"type": "no_data", "after": "10m"},
        {"type": "no_data", "factor": 3, "at_least": "1m"},
        {"type": "no_data"},
        {"type": "aggregate", "function": "avg", "window": "15m", "operator": "gt", "threshold": 80},
        {"type": "stuck", "count": 10},
        several(HOT, SHAKING, max_age="5m"),
        several(HOT, several(SHAKING, {"metric": "temperature", "type": "stuck", "count": 3}), kind="any"),
    ],
    ids=lambda condition: condition["type"],
)
def test_every_type_of_condition_is_taken_as_written(write, condition):
    answer = write(condition)

    assert answer.status_code == 201, answer.json()
    assert answer.json()["condition"] == condition


@pytest.mark.parametrize(
    ("condition", "field", "code"),
    [
        ({"type": "range", "low": 8, "high": 2}, "condition.high", "impossible_range"),
        ({"type": "range", "low": 2, "high": 8, "clear_margin": 4}, "condition.clear_margin", "impossible_hysteresis"),
        ({"type": "range", "low": 2}, "condition.high", "required"),
        (
            THRESHOLD | {"type": "rate_of_change", "clear_threshold": 90},
            "condition.clear_threshold",
            "impossible_hysteresis",
        ),
        (THRESHOLD | {"type": "rate_of_change", "per": "day"}, "condition.per", "invalid_choice"),
        (THRESHOLD | {"type": "aggregate", "window": "5m"}, "condition.function", "required"),
        (THRESHOLD | {"type": "aggregate", "function": "avg"}, "condition.window", "required"),
        (
            THRESHOLD | {"type": "aggregate", "function": "avg", "window": "800d"},
            "condition.window",
            "beyond_retention",
        ),
        (THRESHOLD | {"for": "800d"}, "condition.for", "beyond_retention"),
        ({"type": "no_data", "after": "10m", "factor": 2}, "condition.factor", "invalid"),
        ({"type": "no_data", "after": 0}, "condition.after", "invalid_duration"),
        ({"type": "stuck", "count": 1}, "condition.count", "invalid"),
        (several(), "condition.conditions", "invalid"),
        (several(HOT, THRESHOLD | {"metric": "humidity"}), "condition.conditions.1.metric", "does_not_exist"),
        (several(HOT, THRESHOLD), "condition.conditions.1.metric", "required"),
        (several(HOT, SHAKING | {"for": "5m"}), "condition.conditions.1.for", "not_here"),
        (several(HOT, {"metric": "vibration", "type": "no_data"}), "condition.conditions.1.type", "not_here"),
        (several(HOT, THRESHOLD | {"metric": "state"}), "condition.conditions.1.threshold", "type_mismatch"),
        (
            several(HOT, several(SHAKING | {"threshold": []})),
            "condition.conditions.1.conditions.0.threshold",
            "invalid",
        ),
        (several(SHAKING), "metric", "invalid"),
    ],
)
def test_what_is_wrong_with_a_condition_is_told_at_its_field(write, condition, field, code):
    answer = write(condition)

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


def test_number_is_no_threshold_for_a_text(write):
    assert write(THRESHOLD, metric="state").json()["errors"][0]["field"] == "condition.threshold"


def test_rule_over_several_metrics_is_its_first_metrics_unless_it_says_otherwise(write):
    answer = write(several(SHAKING, HOT), metric=None)

    assert answer.json()["metric"] == "Vibration"
    assert [other.called for other in Rule.objects.get().other_metrics.all()] == ["temperature"]


def test_rule_over_one_metric_has_to_name_it(write):
    assert write(THRESHOLD, metric=None).json()["errors"][0] == {
        "field": "metric",
        "code": "required",
        "message": "This field is required.",
    }


def test_schedule_is_taken_as_written(write):
    assert write(THRESHOLD, schedule=SCHEDULE).json()["schedule"] == SCHEDULE


@pytest.mark.parametrize(
    ("schedule", "field", "code"),
    [
        ({"hours": SCHEDULE["hours"]}, "schedule.timezone", "required"),
        (SCHEDULE | {"timezone": "Mars/Olympus"}, "schedule.timezone", "unknown_timezone"),
        (SCHEDULE | {"hours": []}, "schedule.hours", "invalid"),
        (SCHEDULE | {"hours": [{"start": "8", "end": "17:00"}]}, "schedule.hours.0.start", "invalid"),
        (
            SCHEDULE | {"hours": [{"weekdays": ["monday"], "start": "08:00", "end": "17:00"}]},
            "schedule.hours.0.weekdays",
            "invalid",
        ),
    ],
)
def test_what_is_wrong_with_a_schedule_is_told_at_its_field(write, schedule, field, code):
    answer = write(THRESHOLD, schedule=schedule)

    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
