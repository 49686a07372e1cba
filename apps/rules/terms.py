"""From a rule's row to the terms on which the machine judges."""

from datetime import UTC, datetime, timedelta

from apps.devices.queries import metrics_by_name
from apps.rules import conditions, schedule
from apps.rules.conditions import Several
from apps.rules.machine import Terms
from apps.rules.models import Rule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60_000_000


def terms_of(rule: Rule) -> Terms:
    """Raises ConditionError."""
    return Terms(
        condition=conditions.parse(rule.condition),
        cooldown=rule.cooldown_minutes * MINUTE,
        schedule=schedule.parse(rule.schedule),
    )


def other_metrics(rule: Rule) -> dict[int, str]:
    """The metrics that the condition, as it is written, asks for besides the rule's own: its names for them, by id."""
    condition = conditions.parse(rule.condition)
    names = condition.metrics if isinstance(condition, Several) else []
    found = metrics_by_name(names)
    return {found[name].pk: name for name in names if name in found and found[name].pk != rule.metric_id}


def own_name(rule: Rule, condition: conditions.Condition, others: set[str]) -> str:
    """What the condition calls the rule's own metric; the metric may have been renamed since."""
    if isinstance(condition, Several):
        return next((name for name in condition.metrics if name not in others), rule.metric.name.lower())
    return rule.metric.name.lower()


def to_micros(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // timedelta(microseconds=1)


def to_datetime(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)
