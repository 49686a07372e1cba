"""Severity that rises with duration, as a rule states it."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.devices.tests.factories import DeviceMetricFactory
from apps.events.models import Event
from apps.rules import escalation
from apps.rules.conditions import ConditionError
from apps.rules.judging import judge
from apps.rules.terms import to_micros
from apps.rules.tests.factories import RuleFactory

STEPS = [{"after": "10m", "severity": "warning"}, {"after": "1h", "severity": "critical"}]
TEN = datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_steps_are_read_in_seconds():
    assert escalation.parse(STEPS, severity="info") == [
        {"after": 600, "severity": "warning"},
        {"after": 3600, "severity": "critical"},
    ]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("soon", ""),
        (STEPS * 2, ""),
        (["soon"], "0"),
        ([{"after": "10m", "severity": "critical", "page": True}], "0.page"),
        ([{"severity": "critical"}], "0.after"),
        ([{"after": 0, "severity": "critical"}], "0.after"),
        ([{"after": "10m", "severity": "loud"}], "0.severity"),
        ([{"after": "10m", "severity": "info"}], "0.severity"),
        ([STEPS[0], {"after": "5m", "severity": "critical"}], "1.after"),
        ([{"after": "1m", "severity": "critical"}, {"after": "2m", "severity": "warning"}], "1.severity"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(document, field):
    with pytest.raises(ConditionError) as caught:
        escalation.parse(document, severity="info")
    assert caught.value.field == field


def test_steps_are_checked_against_the_severity_also_when_that_alone_changes(api, alex, device):
    rule = RuleFactory(device=device, severity="info", severity_after=STEPS)
    client = api(alex)
    answer = client.patch(f"/api/v1/rules/{rule.pk}/", {"severity": "critical"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "severity_after.0.severity"
    assert client.patch(f"/api/v1/rules/{rule.pk}/", {"severity": "critical", "severity_after": []}).status_code == 200


@pytest.mark.parametrize(("steps", "rises"), [(STEPS, TEN + timedelta(minutes=10)), ([{"after": "?"}], None)])
def test_event_takes_the_steps_of_its_rule_along(device, steps, rises):
    rule = RuleFactory(device=device, severity="info", severity_after=steps)
    series = DeviceMetricFactory(device=device, metric=rule.metric)
    judge(samples={series.pk: [(to_micros(TEN), 90.0)]}, now=TEN)

    assert Event.objects.get().severity_rises_at == rises
