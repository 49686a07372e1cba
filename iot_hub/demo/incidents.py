"""What went wrong during the demo's week; the rules of `rulebook` found it. Times are minutes ago."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from iot_hub.demo.signals import Moment, Value

RAMP = 10  # minutes from the first sign to the worst


@dataclass(frozen=True, slots=True)
class Incident:
    """While it lasts the readings are off by `effect`, coming and going slowly, or are replaced by it."""

    serial_number: str
    metric: str
    since: int
    lasts: int
    effect: Value
    replaces: bool = False

    def apply(self, moment: Moment, value: Value) -> Value:
        running = self.since - moment.age
        if not 0 <= running < self.lasts:
            return value
        if self.replaces:
            return self.effect
        return value + self.effect * min(1.0, (running + 1) / RAMP, (self.lasts - running) / RAMP)


def of_week(now: datetime) -> list[Incident]:
    """A bearing seized on a working afternoon, and the press was stopped; other things came and went."""
    seized = _minutes_since_workday(now, days=2, hour=14)
    stopped = seized - 7  # soon after the rule had fired
    warm = _minutes_since_workday(now, days=4, hour=9)
    hour, day = 60, 24 * 60
    return [
        Incident("VIB-SN-001", "vibration", seized, 20, 6.5),
        Incident("VIB-SN-001", "vibration", stopped, 45, 0.1, replaces=True),
        Incident("VIB-SN-001", "temperature", seized + 30, 70, 36),
        Incident("M-123", "state", stopped, 45, "stopped", replaces=True),
        Incident("M-123", "power", stopped, 45, 0.4, replaces=True),
        Incident("TMP-SN-001", "door_open", warm, 35, True, replaces=True),
        Incident("TMP-SN-001", "temperature", warm, 70, 6),
        Incident("TMP-SN-001", "door_open", day + 3 * hour, 12, True, replaces=True),
        Incident("PRS-SN-001", "pressure", 5 * day + 2 * hour, 25, -2.1),
        Incident("PRS-SN-001", "pressure", 40, 400, -2.4),  # still going on
    ]


def applied(incidents: Iterable[Incident], moments: Iterable[Moment], values: Iterable[Value]) -> Iterator[Value]:
    for moment, value in zip(moments, values, strict=True):
        for incident in incidents:
            value = incident.apply(moment, value)
        yield value


def _minutes_since_workday(now: datetime, *, days: int, hour: int) -> int:
    """How long ago it was `hour` o'clock on a working day, at least `days` back."""
    then = now.replace(hour=hour, minute=20, second=0, microsecond=0) - timedelta(days=days)
    while then.weekday() >= 5:
        then -= timedelta(days=1)
    return (now - then) // timedelta(minutes=1)
