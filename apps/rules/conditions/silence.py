"""The condition that nothing comes in.

{"type": "no_data", "after": "10m"}
{"type": "no_data", "factor": 3, "at_least": "1m"}
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

from apps.rules.conditions import document as read
from apps.rules.conditions.document import ConditionError, Value, show_duration

INTERVALS = 40  # of which the rhythm is learned
ENOUGH = 5  # before that many are known nothing is learned
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class NoData:
    """Holds once a series was silent for `after`, or for `factor` times its own rhythm, but `at_least` so long.

    The rhythm is what 95 of 100 intervals between its latest readings don't exceed. Silence is measured in the
    hub's time: a device that delivers old readings is not silent.
    """

    after: int | None
    factor: float = 3.0
    at_least: int = 60 * SECOND

    kind: ClassVar[str] = "no_data"
    is_memoryless: ClassVar[bool] = False
    hold_for: ClassVar[int] = 0

    @classmethod
    def parse(cls, document: dict) -> "NoData":
        read.refuse_unknown(document, {"after", "factor", "at_least"})
        if document.get("after") is not None:
            for field in ("factor", "at_least"):
                if field in document:
                    raise ConditionError(field, "Give a fixed time (after) or a learned one (factor), not both.")
            return cls(read.positive_duration(document, "after"))
        factor = read.number(document, "factor", default=3)
        if not 1 < factor <= 1000:
            raise ConditionError("factor", "A number above 1, at most 1000.")
        return cls(None, factor, read.positive_duration({"at_least": "1m"} | document, "at_least"))

    @property
    def span(self) -> int:
        return self.after or 24 * 3600 * SECOND

    def check(self, data_type: str) -> None:
        """Any series can fall silent."""

    def hear(self, memory: dict, last_ts: int | None, ts: int, arrived: int) -> None:
        """A sample came in at `arrived`, taken at `ts`."""
        memory["seen"] = max(arrived, memory.get("seen", arrived))
        if self.after is None and last_ts is not None and ts > last_ts:
            intervals = memory.setdefault("intervals", [])
            intervals.append(ts - last_ts)
            del intervals[:-INTERVALS]

    def limit(self, memory: dict) -> int | None:
        """How long it may be silent, in µs; None as long as its rhythm is not known."""
        if self.after is not None:
            return self.after
        intervals = sorted(memory.get("intervals", ()))
        if len(intervals) < ENOUGH:
            return None
        rhythm = intervals[ceil(len(intervals) * 0.95) - 1]
        return max(self.at_least, round(rhythm * self.factor))

    def due(self, memory: dict) -> int | None:
        """When it will have been silent for too long, if nothing comes in."""
        limit = self.limit(memory)
        return None if limit is None or "seen" not in memory else memory["seen"] + limit

    def describe(self, metric: str, unit: str = "") -> str:
        how_long = show_duration(self.after) if self.after is not None else f"{self.factor:g} times its usual interval"
        return f"no {metric} for {how_long}"

    def measured(self, memory: dict, value: Value | Any) -> str:
        limit = self.limit(memory)
        return "silence" if limit is None else f"silence for {show_duration(limit // SECOND * SECOND)}"
