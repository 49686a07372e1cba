"""Which readings of a series are meant, as conditions on the table `telemetry`."""

from dataclasses import dataclass
from datetime import datetime

# Field of the filter → its condition. Comparisons are of numbers; only equality knows truths and texts too.
_CONDITIONS = {
    "start": "ts >= %(start)s::timestamptz",
    "end": "ts < %(end)s::timestamptz",
    "value_gt": "value_numeric > %(value_gt)s",
    "value_gte": "value_numeric >= %(value_gte)s",
    "value_lt": "value_numeric < %(value_lt)s",
    "value_lte": "value_numeric <= %(value_lte)s",
    "quality_gte": "quality >= %(quality_gte)s::real",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingFilter:
    """`start` ≤ t < `end`; `value` is compared with numbers, truths and texts, each as it reads."""

    start: datetime | None = None
    end: datetime | None = None
    value: str | None = None
    value_gt: float | None = None
    value_gte: float | None = None
    value_lt: float | None = None
    value_lte: float | None = None
    quality_gte: float | None = None

    @property
    def is_of_time_only(self) -> bool:
        """Whether every reading within the time counts, so that rollups may answer."""
        return all(getattr(self, name) is None for name in (*_CONDITIONS, "value") if name not in ("start", "end"))

    def sql(self) -> tuple[str, dict]:
        """` AND …` for each condition that is set, with its parameters."""
        params = {name: getattr(self, name) for name in _CONDITIONS if getattr(self, name) is not None}
        conditions = [_CONDITIONS[name] for name in params]
        if self.value is not None:
            condition, more = _equal_to(self.value)
            conditions.append(condition)
            params |= more
        return "".join(f" AND {one}" for one in conditions), params


def _equal_to(text: str) -> tuple[str, dict]:
    either, params = ["value_str = %(value)s"], {"value": text}
    if text.lower() in ("true", "false"):
        either.append("value_bool = %(truth)s")
        params["truth"] = text.lower() == "true"
    try:
        params["number"] = float(text)
    except ValueError:
        pass
    else:
        either.append("value_numeric = %(number)s")
    return f"({' OR '.join(either)})", params
