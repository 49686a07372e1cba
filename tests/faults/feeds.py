"""What devices send. Every value follows from the place of its message, so nothing needs to be remembered."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

Value = float | bool | str

STEP_MS = 1000
PERIOD = 120  # messages of one rise and fall of `level`
START_MS = int((datetime.now(UTC) - timedelta(days=300)).timestamp()) * 1000


def _level(salt: int, place: int) -> float:
    """Up to 60 and down again, with something too small to matter that makes each value another."""
    phase = place % PERIOD
    return min(phase, PERIOD - phase) + place / 2**30


# (salt of the feed, place of the message) → value. All numbers are exact in binary.
METRICS: dict[str, Callable[[int, int], Value]] = {
    "load": lambda salt, place: salt * 2.0**28 + place + 0.5,
    "drift": lambda salt, place: -(salt * 2.0**28) - place - 0.25,
    "is_on": lambda salt, place: (salt + place * 7) % 3 == 0,
    "note": lambda salt, place: f'{salt}/{place} "ü"',
    "level": _level,
}
# What stands in a body that repeats readings with other values, which must not be stored.
OTHER: dict[type, Callable[[Value], Value]] = {
    float: lambda value: value + 2.0**40,
    bool: lambda value: not value,
    str: lambda value: value + " again",
}


@dataclass
class Body:
    """Messages number `first` to `first + count`. `fresh` of them have never been sent before."""

    first: int
    count: int
    content: bytes
    fresh: int
    per_message: int
    headers: dict[str, str]
    overwrite: bool = False
    version: int = 0

    @property
    def places(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass
class Feed:
    """One device. `salt` tells its values from those of the others; `device` and `key` are its id and credential."""

    serial_number: str
    metrics: list[str]
    salt: int
    device: str = ""
    key: str = ""
    series: dict[str, int] = field(default_factory=dict)

    def value(self, metric: str, place: int, version: int = 0) -> Value:
        """`version` counts how often the reading was overwritten; numbers only."""
        value = METRICS[metric](self.salt, place)
        return value + version * 2.0**33 if version else value

    def body(
        self,
        first: int,
        count: int,
        *,
        fresh: int | None = None,
        zipped: bool = False,
        other_values: bool = False,
        overwrite: bool = False,
        version: int = 0,
    ) -> Body:
        messages = [self._message(place, version, other_values) for place in range(first, first + count)]
        content = msgspec.json.encode(messages if count > 1 else messages[0])
        return Body(
            first=first,
            count=count,
            content=gzip.compress(content, compresslevel=1) if zipped else content,
            fresh=count if fresh is None else fresh,
            per_message=len(self.metrics),
            headers=self._headers(zipped),
            overwrite=overwrite,
            version=version,
        )

    def _message(self, place: int, version: int, other_values: bool) -> dict:
        values = {metric: self.value(metric, place, version) for metric in self.metrics}
        if other_values:
            values = {metric: OTHER[type(value)](value) for metric, value in values.items()}
        return {"serial_number": self.serial_number, "timestamp": START_MS + place * STEP_MS, "metrics": values}

    def _headers(self, zipped: bool) -> dict[str, str]:
        headers = {"Authorization": f"Token {self.key}", "Content-Type": "application/json"}
        return headers | {"Content-Encoding": "gzip"} if zipped else headers
