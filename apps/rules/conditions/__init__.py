"""Conditions as values: built and checked from JSON, asked about samples in event time.

Pure: no database, no clock. The worker, the backtest and `explain` run this same code. What a condition has to
remember between samples lies in a `memory`, a dict that goes through JSON unchanged and does not grow without end.

    condition = parse({"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m", "clear_threshold": 75})
    condition.observe(memory, ts, value)  # Verdict.HOLDS, CLEAR, or BETWEEN the two
"""

from collections.abc import Mapping
from typing import Any

from apps.rules.conditions import several
from apps.rules.conditions.change import RateOfChange, Stuck
from apps.rules.conditions.document import OPERATORS, ConditionError, Value, Verdict, parse_duration, show
from apps.rules.conditions.several import Several
from apps.rules.conditions.silence import NoData
from apps.rules.conditions.threshold import Range, Threshold
from apps.rules.conditions.window import Aggregate

__all__ = [
    "OPERATORS",
    "Aggregate",
    "Condition",
    "ConditionError",
    "NoData",
    "Range",
    "RateOfChange",
    "Several",
    "Stuck",
    "Threshold",
    "Value",
    "Verdict",
    "check",
    "parse",
    "parse_duration",
    "show",
]

Condition = Threshold | Range | RateOfChange | Aggregate | Stuck | NoData | Several

_ONE_METRIC = {one.kind: one for one in (Threshold, Range, RateOfChange, NoData, Aggregate, Stuck)}
KINDS = (*_ONE_METRIC, "all", "any")


def parse(document: Any, depth: int = 1) -> Condition:
    """A condition from its JSON form. Raises ConditionError."""
    if not isinstance(document, dict):
        raise ConditionError("", "A condition is an object, such as {'type': 'threshold', …}.")
    kind = document.get("type")
    if kind in ("all", "any"):
        return several.parse(document, parse, depth)
    if not isinstance(kind, str) or kind not in _ONE_METRIC:
        raise ConditionError("type", f"Unknown condition type {kind!r}; there are: {', '.join(KINDS)}.", "unknown_type")
    return _ONE_METRIC[kind].parse(document)


def check(condition: Condition, *, data_type: str, data_types: Mapping[str, str], retention: int | None) -> None:
    """Raises ConditionError where it can't be judged on these metrics.

    `data_type` is that of the rule's metric, `data_types` those of all metrics by name in lower case; `retention`
    is how long readings are kept, in µs.
    """
    _check_times(condition, retention)
    if not isinstance(condition, Several):
        return condition.check(data_type)
    for place, (name, one) in enumerate(condition.conditions):
        try:
            if name and name not in data_types:
                raise ConditionError("metric", f"There is no metric {name!r}.", "does_not_exist")
            check(one, data_type=data_types.get(name, data_type), data_types=data_types, retention=retention)
        except ConditionError as error:
            raise error.within(f"conditions.{place}") from None
    return None


def _check_times(condition: Condition, retention: int | None) -> None:
    for attribute, field in (("hold_for", "for"), ("window", "window"), ("after", "after"), ("max_age", "max_age")):
        if retention is not None and (getattr(condition, attribute, 0) or 0) > retention:
            raise ConditionError(field, "Longer than readings are kept.", "beyond_retention")
