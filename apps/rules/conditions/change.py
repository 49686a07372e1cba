"""Conditions on how a value moves, or does not.

{"type": "rate_of_change", "operator": "gt", "threshold": 5, "per": "minute", "counter": false}
{"type": "stuck", "count": 10}
"""

from dataclasses import dataclass
from typing import ClassVar

from apps.rules.conditions import document as read
from apps.rules.conditions.document import SYMBOLS, Value, Verdict, show

PER = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000}
MAX_COUNT = 100_000


@dataclass(frozen=True, slots=True)
class RateOfChange:
    """Compares the change from one reading to the next, per unit of time.

    A `counter` only grows: where it falls it was reset, and what it shows then has come since.
    """

    operator: str
    threshold: float
    per: str = "minute"
    counter: bool = False
    hold_for: int = 0
    clear_threshold: float | None = None

    kind: ClassVar[str] = "rate_of_change"
    is_memoryless: ClassVar[bool] = False
    span: ClassVar[int] = PER["hour"]

    @classmethod
    def parse(cls, document: dict) -> "RateOfChange":
        read.refuse_unknown(document, {"operator", "threshold", "clear_threshold", "per", "counter", "for"})
        chosen, threshold, clear = read.comparison(document)
        per = read.choice(document, "per", PER, default="minute")
        return cls(chosen, threshold, per, read.flag(document, "counter"), read.hold_for(document), clear)

    def check(self, data_type: str) -> None:
        read.must_be_numeric(data_type, "A rate of change")

    def observe(self, memory: dict, ts: int, value: Value) -> Verdict:
        if type(value) is not float:
            return Verdict.BETWEEN
        last_ts, last = memory.get("ts"), memory.get("value")
        memory["ts"], memory["value"] = ts, value
        if last_ts is None or ts <= last_ts:
            return Verdict.BETWEEN  # one reading has no rate
        change = value if self.counter and value < last else value - last
        rate = memory["rate"] = change * PER[self.per] / (ts - last_ts)
        return read.compare(self.operator, rate, self.threshold, self.clear_threshold)

    def describe(self, metric: str, unit: str = "") -> str:
        amount = f"{show(self.threshold)} {unit}".strip()
        return f"{metric} changes by {SYMBOLS[self.operator]} {amount} per {self.per}"

    def measured(self, memory: dict, value: Value) -> str:
        return f"{memory['rate']:.6g} per {self.per}" if "rate" in memory else show(value)


@dataclass(frozen=True, slots=True)
class Stuck:
    """Holds from the `count`th identical reading in a row until another value comes."""

    count: int
    hold_for: int = 0

    kind: ClassVar[str] = "stuck"
    is_memoryless: ClassVar[bool] = False
    span: ClassVar[int] = 24 * PER["hour"]

    @classmethod
    def parse(cls, document: dict) -> "Stuck":
        read.refuse_unknown(document, {"count", "for"})
        return cls(read.whole_number(document, "count", 2, MAX_COUNT), read.hold_for(document))

    def check(self, data_type: str) -> None:
        """Any value can be stuck."""

    def observe(self, memory: dict, ts: int, value: Value) -> Verdict:
        if "run" in memory and memory["value"] == value:
            memory["run"] = min(memory["run"] + 1, self.count)
        else:
            memory["value"], memory["run"] = value, 1
        return Verdict.HOLDS if memory["run"] >= self.count else Verdict.CLEAR

    def describe(self, metric: str, unit: str = "") -> str:
        return f"{metric} the same for {self.count} readings"

    def measured(self, memory: dict, value: Value) -> str:
        return f"{show(value)} again and again"
