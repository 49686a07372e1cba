"""Whether a rule can be judged: asked where a person writes it, so that the fault is told at its field."""

from typing import Any

from django.conf import settings

from apps.devices.models import Metric
from apps.devices.queries import metrics_by_name
from apps.rules import conditions
from apps.rules.conditions import Condition, ConditionError, Several
from apps.telemetry.intervals import micros_of


class MetricError(ValueError):
    """What is wrong with the rule's own metric."""


def check_condition(*, document: Any, metric: Metric | None) -> Condition:
    """The condition as it will be judged on `metric`. Raises ConditionError, or MetricError."""
    condition = conditions.parse(document)
    names = condition.metrics if isinstance(condition, Several) else []
    data_types = {name: found.data_type for name, found in metrics_by_name(names).items()}
    retention = settings.TELEMETRY["RETENTION"]
    conditions.check(
        condition,
        data_type="" if metric is None else metric.data_type,
        data_types=data_types,
        retention=micros_of(retention) if retention else None,
    )
    if names and metric is not None and metric.name.lower() not in names:
        raise MetricError("Has to be one of the metrics that the condition asks for.")
    return condition


def own_metric(document: Any) -> Metric | None:
    """The metric of a rule that names none: the first that its condition asks for. Raises ConditionError."""
    condition = conditions.parse(document)
    if not isinstance(condition, Several):
        return None
    return next(iter(metrics_by_name(condition.metrics[:1]).values()), None)


__all__ = ["ConditionError", "MetricError", "check_condition", "own_metric"]
