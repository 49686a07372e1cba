"""Conditions that judge a sample by itself.

{"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m", "clear_threshold": 75}
{"type": "range", "mode": "outside", "low": 2, "high": 8, "clear_margin": 0.5}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from apps.rules.conditions import document as read
from apps.rules.conditions.document import OPERATORS, SYMBOLS, ConditionError, Value, Verdict, show

# The value that decides for all of them.
EXTREMES = {"gt": max, "gte": max, "lt": min, "lte": min}


@dataclass(frozen=True, slots=True)
class Threshold:
    """Holds while `value operator threshold`; ends where `clear_threshold` is passed, if one is given.

    `hold_for` is how long it has to hold before it counts, in µs.
    """

    operator: str
    threshold: Value
    hold_for: int = 0
    clear_threshold: float | None = None

    kind: ClassVar[str] = "threshold"
    is_memoryless: ClassVar[bool] = True
    span: ClassVar[int] = 0

    @classmethod
    def parse(cls, document: dict) -> "Threshold":
        read.refuse_unknown(document, {"operator", "threshold", "for", "clear_threshold"})
        chosen = read.choice(document, "operator", OPERATORS, code="unknown_operator")
        threshold = _threshold(document, chosen)
        clear = read.clear_threshold(document, chosen, threshold)
        return cls(chosen, threshold, read.hold_for(document), clear)

    def check(self, data_type: str) -> None:
        if type(self.threshold) is not read.TYPES[data_type]:
            raise ConditionError("threshold", f"The metric's values are {read.TYPE_NAMES[data_type]}.", "type_mismatch")

    def observe(self, memory: dict, ts: int, value: Value) -> Verdict:
        """A value of another type than the threshold's (the metric changed) never holds."""
        if type(value) is not type(self.threshold):
            return Verdict.CLEAR
        holds = OPERATORS[self.operator]
        if holds(value, self.threshold):
            return Verdict.HOLDS
        if self.clear_threshold is not None and holds(value, self.clear_threshold):
            return Verdict.BETWEEN
        return Verdict.CLEAR

    def holds_for_none(self, values: Sequence[Value]) -> bool:
        """What `observe` would say of each, at a glance; False where it would have to be asked."""
        if type(self.threshold) is not float or self.operator not in EXTREMES:
            return False
        try:
            return not OPERATORS[self.operator](EXTREMES[self.operator](values), self.threshold)
        except TypeError:  # texts among them
            return False

    def describe(self, metric: str, unit: str = "") -> str:
        return f"{metric} {SYMBOLS[self.operator]} {show(self.threshold)} {unit}".strip()

    def measured(self, memory: dict, value: Value) -> str:
        return show(value)


@dataclass(frozen=True, slots=True)
class Range:
    """Holds while the value lies outside (or inside) `low` … `high`, bounds counting as inside.

    It clears once the value is `clear_margin` beyond the bound that it crossed.
    """

    low: float
    high: float
    inside: bool = False
    margin: float = 0.0
    hold_for: int = 0

    kind: ClassVar[str] = "range"
    is_memoryless: ClassVar[bool] = True
    span: ClassVar[int] = 0

    @classmethod
    def parse(cls, document: dict) -> "Range":
        read.refuse_unknown(document, {"mode", "low", "high", "clear_margin", "for"})
        mode = read.choice(document, "mode", ("outside", "inside"), default="outside")
        low, high = read.number(document, "low"), read.number(document, "high")
        if low > high:
            raise ConditionError("high", "Must not lie below low.", "impossible_range")
        margin = read.number(document, "clear_margin", default=0)
        if margin < 0 or (mode == "outside" and 2 * margin > high - low):
            raise ConditionError(
                "clear_margin", "Must be positive and leave room between the bounds.", "impossible_hysteresis"
            )
        return cls(low, high, mode == "inside", margin, read.hold_for(document))

    def check(self, data_type: str) -> None:
        read.must_be_numeric(data_type, "A range")

    def observe(self, memory: dict, ts: int, value: Value) -> Verdict:
        if type(value) is not float:
            return Verdict.CLEAR
        if (self.low <= value <= self.high) is self.inside:
            return Verdict.HOLDS
        margin = self.margin if self.inside else -self.margin
        if (self.low - margin <= value <= self.high + margin) is self.inside:
            return Verdict.BETWEEN
        return Verdict.CLEAR

    def holds_for_none(self, values: Sequence[Value]) -> bool:
        """The same as for a threshold."""
        try:
            return not self.inside and self.low <= min(values) and max(values) <= self.high
        except TypeError:
            return False

    def describe(self, metric: str, unit: str = "") -> str:
        where = "within" if self.inside else "outside"
        return f"{metric} {where} {show(self.low)} … {show(self.high)} {unit}".strip()

    def measured(self, memory: dict, value: Value) -> str:
        return show(value)


def _threshold(document: dict, chosen: str) -> Any:
    value = document.get("threshold")
    if isinstance(value, (bool, str)):
        if chosen not in {"eq", "neq"}:
            raise ConditionError("operator", "Texts and booleans compare with eq or neq only.")
        return value
    return read.number(document, "threshold")
