"""Conditions on a sliding window of event time.

{"type": "aggregate", "function": "avg", "window": "15m", "operator": "gt", "threshold": 80}
"""

from dataclasses import dataclass
from typing import ClassVar

from apps.rules.conditions import document as read
from apps.rules.conditions.document import DOWNWARDS, SYMBOLS, Value, Verdict, show, show_duration

FUNCTIONS = ("avg", "min", "max", "sum", "count")
# What is remembered is at most so many parts of the window, whatever the device sends; it moves in steps of one.
PARTS = 60


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Compares avg, min, max, sum or count of the readings of the last `window`.

    At least `min_samples` are needed. What can only grow (count, sum) is compared with < and ≤ once the window
    has been watched in full: its first minutes are not few readings, only a short time.
    """

    function: str
    window: int
    operator: str
    threshold: float
    clear_threshold: float | None = None
    min_samples: int = 1
    hold_for: int = 0

    kind: ClassVar[str] = "aggregate"
    is_memoryless: ClassVar[bool] = False

    @classmethod
    def parse(cls, document: dict) -> "Aggregate":
        known = {"function", "window", "operator", "threshold", "clear_threshold", "min_samples", "for"}
        read.refuse_unknown(document, known)
        function = read.choice(document, "function", FUNCTIONS)
        window = read.positive_duration(document, "window")
        chosen, threshold, clear = read.comparison(document)
        least = read.whole_number(document, "min_samples", 1, 1_000_000, default=1)
        return cls(function, window, chosen, threshold, clear, least, read.hold_for(document))

    @property
    def span(self) -> int:
        return self.window

    def check(self, data_type: str) -> None:
        if self.function != "count":
            read.must_be_numeric(data_type, f"The {self.function} of a window")

    def observe(self, memory: dict, ts: int, value: Value) -> Verdict:
        """`memory` holds parts as [number, count, sum, min, max], oldest first."""
        if self.function == "count":
            value = 0.0
        elif type(value) is not float:
            return Verdict.BETWEEN
        parts = self._add(memory, ts, value)
        if sum(part[1] for part in parts) < self.min_samples or not self._is_whole(memory, ts):
            return Verdict.BETWEEN
        return read.compare(self.operator, self._result(parts), self.threshold, self.clear_threshold)

    def _add(self, memory: dict, ts: int, value: float) -> list[list]:
        parts = memory.setdefault("parts", [])
        memory.setdefault("since", ts)
        current = ts * PARTS // self.window
        while parts and parts[0][0] <= current - PARTS:
            del parts[0]
        if parts and parts[-1][0] == current:
            last = parts[-1]
            last[1:] = [last[1] + 1, last[2] + value, min(last[3], value), max(last[4], value)]
        else:
            parts.append([current, 1, value, value, value])
        return parts

    def _is_whole(self, memory: dict, ts: int) -> bool:
        grows = self.function in {"count", "sum"} and self.operator in DOWNWARDS
        return not grows or ts - memory["since"] >= self.window

    def _result(self, parts: list[list]) -> float:
        if self.function == "min":
            return min(part[3] for part in parts)
        if self.function == "max":
            return max(part[4] for part in parts)
        count = sum(part[1] for part in parts)
        if self.function == "count":
            return float(count)
        total = sum(part[2] for part in parts)
        return total if self.function == "sum" else total / count

    def describe(self, metric: str, unit: str = "") -> str:
        of = f"{self.function} of {metric} over {show_duration(self.window)}"
        unit = "" if self.function == "count" else unit
        return f"{of} {SYMBOLS[self.operator]} {show(self.threshold)} {unit}".strip()

    def measured(self, memory: dict, value: Value) -> str:
        return show(self._result(memory["parts"])) if memory.get("parts") else show(value)
