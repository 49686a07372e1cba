"""Conditions as values: built and checked from JSON, asked about one sample at a time.

Pure: no database, no clock. The worker, the backtest and `explain` run this same code.

    {"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m", "clear_threshold": 75}
"""

import operator
import re
from dataclasses import dataclass
from typing import Any

Value = float | bool | str

OPERATORS = {
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
    "eq": operator.eq,
    "neq": operator.ne,
}
SYMBOLS = {"gt": ">", "lt": "<", "gte": "≥", "lte": "≤", "eq": "=", "neq": "≠"}
_UPWARDS = {"gt", "gte"}
_DOWNWARDS = {"lt", "lte"}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


class ConditionError(ValueError):
    """What is wrong with a condition; `field` is a path within it, such as `threshold`."""

    def __init__(self, field: str, message: str, code: str = "invalid"):
        super().__init__(message)
        self.field = field
        self.code = code


@dataclass(frozen=True, slots=True)
class Threshold:
    """Holds while `value operator threshold`; ends where `clear_threshold` is passed, if one is given.

    `hold_for` is how long it has to hold before it counts, in µs.
    """

    operator: str
    threshold: Value
    hold_for: int = 0
    clear_threshold: float | None = None

    def holds(self, value: Value) -> bool:
        """A value of another type than the threshold's (the metric changed) never holds."""
        if isinstance(value, str) is not isinstance(self.threshold, str):
            return False
        return OPERATORS[self.operator](value, self.threshold)

    def clears(self, value: Value) -> bool:
        if self.clear_threshold is None:
            return not self.holds(value)
        return not OPERATORS[self.operator](value, self.clear_threshold)

    def describe(self, metric: str, unit: str = "") -> str:
        text = f"{metric} {SYMBOLS[self.operator]} {show(self.threshold)}"
        return f"{text} {unit}".strip()


def parse(document: Any) -> Threshold:
    """A condition from its JSON form. Raises ConditionError."""
    if not isinstance(document, dict):
        raise ConditionError("", "A condition is an object, such as {'type': 'threshold', …}.")
    kind = document.get("type")
    if kind != "threshold":
        raise ConditionError("type", f"Unknown condition type {kind!r}; there is: threshold.", "unknown_type")
    _refuse_unknown(document, {"type", "operator", "threshold", "for", "clear_threshold"})
    chosen = document.get("operator")
    if chosen not in OPERATORS:
        raise ConditionError("operator", f"One of {', '.join(OPERATORS)}.", "unknown_operator")
    threshold = _threshold(document, chosen)
    return Threshold(
        operator=chosen,
        threshold=threshold,
        hold_for=parse_duration(document["for"], "for") if document.get("for") is not None else 0,
        clear_threshold=_clear_threshold(document.get("clear_threshold"), chosen, threshold),
    )


def check_data_type(condition: Threshold, data_type: str) -> None:
    """Raises ConditionError where the threshold can't be compared with values of the metric."""
    expected = {"numeric": float, "boolean": bool, "str": str}[data_type]
    if type(condition.threshold) is not expected:
        names = {"numeric": "a number", "boolean": "true or false", "str": "a text"}
        raise ConditionError("threshold", f"The metric's values are {names[data_type]}.", "type_mismatch")


def parse_duration(text: Any, field: str) -> int:
    """`90s`, `5m`, `1h 30m` or a number of seconds, as µs."""
    if isinstance(text, (int, float)) and not isinstance(text, bool) and 0 <= text < 1e9:
        return round(text * 1_000_000)
    parts = _DURATION.findall(text) if isinstance(text, str) else []
    if not parts or _DURATION.sub("", text).strip():
        raise ConditionError(field, "A duration such as 90s, 5m or 1h 30m.", "invalid_duration")
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def show(value: Value) -> str:
    """A value as people write it: 5.2, 80, true, "open"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:.10g}"


def _threshold(document: dict, chosen: str) -> Value:
    value = document.get("threshold")
    if isinstance(value, (bool, str)):
        if chosen not in {"eq", "neq"}:
            raise ConditionError("operator", "Texts and booleans compare with eq or neq only.")
        return value
    return _number(value, "threshold")


def _clear_threshold(value: Any, chosen: str, threshold: Value) -> float | None:
    if value is None:
        return None
    clear = _number(value, "clear_threshold")
    if (chosen in _UPWARDS and clear <= threshold) or (chosen in _DOWNWARDS and clear >= threshold):
        return clear
    raise ConditionError("clear_threshold", "Must lie on the quiet side of the threshold.", "impossible_hysteresis")


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConditionError(field, "A number is needed here.", "required" if value is None else "invalid")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number - number != 0:
        raise ConditionError(field, "A finite number is needed here.")
    return number


def _refuse_unknown(document: dict, known: set[str]) -> None:
    for key in document:
        if key not in known:
            raise ConditionError(key, "Unknown field of a threshold condition.", "unknown_field")
