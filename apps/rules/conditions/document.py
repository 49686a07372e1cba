"""Reading conditions from their JSON form: every fault is told at its field."""

import operator
import re
from collections.abc import Iterable
from enum import IntEnum
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
UPWARDS = {"gt", "gte"}
DOWNWARDS = {"lt", "lte"}
TYPES = {"numeric": float, "boolean": bool, "str": str}
TYPE_NAMES = {"numeric": "a number", "boolean": "true or false", "str": "a text"}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


class ConditionError(ValueError):
    """What is wrong with a condition; `field` is a path within it, such as `conditions.1.metric`."""

    def __init__(self, field: str, message: str, code: str = "invalid"):
        super().__init__(message)
        self.field = field
        self.code = code

    def within(self, path: str) -> "ConditionError":
        """The same fault, seen from the condition around."""
        return ConditionError(f"{path}.{self.field}".rstrip("."), str(self), self.code)


class Verdict(IntEnum):
    """What a condition says of a sample. BETWEEN neither opens nor resolves: within the hysteresis, or not known."""

    CLEAR = -1
    BETWEEN = 0
    HOLDS = 1


def parse_duration(text: Any, field: str) -> int:
    """`90s`, `5m`, `1h 30m` or a number of seconds, as µs."""
    if isinstance(text, (int, float)) and not isinstance(text, bool) and 0 <= text < 1e9:
        return round(text * 1_000_000)
    parts = _DURATION.findall(text) if isinstance(text, str) else []
    if not parts or _DURATION.sub("", text).strip():
        raise ConditionError(field, "A duration such as 90s, 5m or 1h 30m.", "invalid_duration")
    micros = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if micros >= 1e15:
        raise ConditionError(field, "At most a thousand million seconds.", "invalid_duration")
    return round(micros)


def hold_for(document: dict) -> int:
    return parse_duration(document["for"], "for") if document.get("for") is not None else 0


def positive_duration(document: dict, field: str) -> int:
    if document.get(field) is None:
        raise ConditionError(field, "A duration such as 90s, 5m or 1h 30m is needed here.", "required")
    duration = parse_duration(document[field], field)
    if duration < 1000:
        raise ConditionError(field, "Must be a millisecond or longer.", "invalid_duration")
    return duration


def show_duration(micros: int) -> str:
    """As people write it: 90s is `1m 30s`."""
    parts, rest = [], micros
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def show(value: Value) -> str:
    """A value as people write it: 5.2, 80, true, "open"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:.10g}"


def number(document: dict, field: str, default: float | None = None) -> float:
    value = document.get(field, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConditionError(field, "A number is needed here.", "required" if value is None else "invalid")
    try:
        converted = float(value)
    except OverflowError:
        converted = float("inf")
    if converted - converted != 0:
        raise ConditionError(field, "A finite number is needed here.")
    return converted


def whole_number(document: dict, field: str, low: int, high: int, default: int | None = None) -> int:
    value = document.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        code = "required" if value is None else "invalid"
        raise ConditionError(field, f"A whole number from {low} to {high} is needed here.", code)
    return value


def choice(
    document: dict, field: str, choices: Iterable[str], default: str | None = None, code="invalid_choice"
) -> str:
    value = document.get(field, default)
    if not isinstance(value, str) or value not in choices:
        raise ConditionError(field, f"One of {', '.join(choices)}.", "required" if value is None else code)
    return value


def flag(document: dict, field: str) -> bool:
    value = document.get(field, False)
    if not isinstance(value, bool):
        raise ConditionError(field, "true or false is needed here.")
    return value


def comparison(document: dict) -> tuple[str, float, float | None]:
    """Operator, threshold and the threshold at which it clears, for conditions that compare a number."""
    chosen = choice(document, "operator", OPERATORS, code="unknown_operator")
    threshold = number(document, "threshold")
    return chosen, threshold, clear_threshold(document, chosen, threshold)


def clear_threshold(document: dict, chosen: str, threshold: Value) -> float | None:
    if document.get("clear_threshold") is None:
        return None
    clear = number(document, "clear_threshold")
    if (chosen in UPWARDS and clear <= threshold) or (chosen in DOWNWARDS and clear >= threshold):
        return clear
    raise ConditionError("clear_threshold", "Must lie on the quiet side of the threshold.", "impossible_hysteresis")


def compare(chosen: str, value: float, threshold: float, clear: float | None) -> Verdict:
    holds = OPERATORS[chosen]
    if holds(value, threshold):
        return Verdict.HOLDS
    if clear is not None and holds(value, clear):
        return Verdict.BETWEEN
    return Verdict.CLEAR


def refuse_unknown(document: dict, known: Iterable[str]) -> None:
    for key in document:
        if key not in known and key != "type":
            raise ConditionError(str(key), f"Unknown field of a condition of type {document['type']}.", "unknown_field")


def must_be_numeric(data_type: str, kind: str) -> None:
    if data_type != "numeric":
        raise ConditionError("type", f"{kind} needs a metric whose values are numbers.", "type_mismatch")
