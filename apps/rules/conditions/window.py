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
        """`memory` holds of each part its number, and count, sum, min and max of its readings: lists, oldest first."""
        if self.function == "count":
            value = 0.0
        elif type(value) is not float:
            return Verdict.BETWEEN
        self._add(memory, ts, value)
        if (self.min_samples > 1 and sum(memory["count"]) < self.min_samples) or not self._is_whole(memory, ts):
            return Verdict.BETWEEN
        return read.compare(self.operator, self._result(memory), self.threshold, self.clear_threshold)

    def _add(self, memory: dict, ts: int, value: float) -> None:
        if "parts" not in memory:
            memory |= {"since": ts, "parts": [], "count": [], "sum": [], "min": [], "max": []}
        parts, current = memory["parts"], ts * PARTS // self.window
        while parts and parts[0] <= current - PARTS:
            for name in ("parts", "count", "sum", "min", "max"):
                del memory[name][0]
        if parts and parts[-1] == current:
            memory["count"][-1] += 1
            memory["sum"][-1] += value
            memory["min"][-1] = min(memory["min"][-1], value)
            memory["max"][-1] = max(memory["max"][-1], value)
        else:
            for name, item in (("parts", current), ("count", 1), ("sum", value), ("min", value), ("max", value)):
                memory[name].append(item)

    def _is_whole(self, memory: dict, ts: int) -> bool:
        grows = self.function in {"count", "sum"} and self.operator in DOWNWARDS
        return not grows or ts - memory["since"] >= self.window

    def _result(self, memory: dict) -> float:
        if self.function == "avg":
            return sum(memory["sum"]) / sum(memory["count"])
        if self.function in {"min", "max"}:
            return (min if self.function == "min" else max)(memory[self.function])
        return float(sum(memory[self.function]))

    def describe(self, metric: str, unit: str = "") -> str:
        of = f"{self.function} of {metric} over {show_duration(self.window)}"
        unit = "" if self.function == "count" else unit
        return f"{of} {SYMBOLS[self.operator]} {show(self.threshold)} {unit}".strip()

    def measured(self, memory: dict, value: Value) -> str:
        return show(self._result(memory)) if memory.get("parts") else show(value)
