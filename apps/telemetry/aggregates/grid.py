"""Where buckets begin, in a time zone: days, weeks and months by its calendar, hours and minutes by its clock.

A bucket is as long as it is on the wall clock, whatever the clock was set to meanwhile: a day of 23 or 25 hours is one
bucket. Widths up to an hour stay that long when the clock is set: an hour that comes twice is two buckets.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate, pairwise, repeat
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
# Name → seconds; those of days and more for estimates only, as they vary.
WIDTHS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1mo": 2_629_746}
CALENDAR = {"1d", "1w", "1mo"}


@dataclass(frozen=True)
class Grid:
    """`edges` are n + 1 times in UTC for n buckets; the first bucket holds `start`, the last ends at or after `end`."""

    edges: list[datetime]
    start: datetime
    end: datetime

    @property
    def buckets(self) -> list[datetime]:
        return self.edges[:-1]

    @cached_property
    def moments(self) -> list[float]:
        """The edges in seconds since 1970."""
        return [edge.timestamp() for edge in self.edges]

    @cached_property
    def step(self) -> timedelta | None:
        """The length of every bucket, if they have one."""
        lengths = {later - earlier for earlier, later in pairwise(self.moments)}
        return timedelta(seconds=lengths.pop()) if len(lengths) == 1 else None

    def is_aligned_to(self, unit: timedelta) -> bool:
        """Whether all edges between buckets lie on whole units of UTC."""
        seconds = unit.total_seconds()
        return all(moment % seconds == 0 for moment in self.moments[1:-1])

    def partial_buckets(self, now: datetime) -> set[int]:
        """Those that reach beyond what was asked for, or are not over yet."""
        whole_until = bisect_right(self.edges, min(self.end, now)) - 1
        first = {0} if self.edges[0] < self.start else set()
        return first | set(range(max(whole_until, 0), len(self.edges) - 1))


def estimated_count(bucket: str, start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / WIDTHS[bucket]


def grid_of(*, bucket: str, start: datetime, end: datetime, zone: ZoneInfo) -> Grid:
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if bucket in CALENDAR:
        edges = _calendar_edges(bucket, start, end, zone)
    else:
        edges = _clock_edges(timedelta(seconds=WIDTHS[bucket]), start, end, zone)
    return Grid(edges, start, end)


def stepped_grid(*, step: timedelta, start: datetime, end: datetime) -> Grid:
    """Steps of any length from `start` on; the last one may end after `end`."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    return Grid([start, *_evenly(start, end, step)], start, end)


def _calendar_edges(bucket: str, start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    midnight = _midnight(start.astimezone(zone).replace(tzinfo=None))
    if bucket == "1w":
        midnight -= DAY * midnight.weekday()
    elif bucket == "1mo":
        midnight = midnight.replace(day=1)
    edges = [_instant(midnight, zone)]
    while edges[-1] < end:
        midnight = _following(bucket, midnight)
        edges.append(_instant(midnight, zone))
    return edges


def _following(bucket: str, midnight: datetime) -> datetime:
    if bucket == "1mo":
        return _midnight((midnight + 31 * DAY).replace(day=1))
    return midnight + (7 * DAY if bucket == "1w" else DAY)


def _clock_edges(width: timedelta, start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    local = start.astimezone(zone).replace(tzinfo=None)
    since = (local - _midnight(local)) % width
    edges = [_clock_edge(start - since, local - since, width, zone)]
    if zone.utcoffset(None) is not None:  # its clock is never set
        return [*edges, *_evenly(edges[0], end, width)]
    while edges[-1] < end:
        local = edges[-1].astimezone(zone).replace(tzinfo=None)
        if local == _midnight(local) and _instant(local + DAY, zone) - edges[-1] == DAY:
            edges += _evenly(edges[-1], min(edges[-1] + DAY, end), width)
            continue
        rest = width - (local - _midnight(local)) % width
        edges.append(_clock_edge(edges[-1] + rest, local + rest, width, zone))
    return edges


def _evenly(start: datetime, end: datetime, width: timedelta) -> list[datetime]:
    """Edges after `start`, the last at or after `end`."""
    return list(accumulate(repeat(width, -((start - end) // width)), initial=start))[1:]


def _clock_edge(moment: datetime, wall: datetime, width: timedelta, zone: ZoneInfo) -> datetime:
    """The edge at `moment`, unless the clock was set before it by less than a width; then where the wall clock says."""
    local = moment.astimezone(zone).replace(tzinfo=None)
    return moment if (local - _midnight(local)) % width == timedelta() else _instant(wall, zone)


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the wall clock shows it for the first time; if it never does, when it is set past it."""
    return wall.replace(tzinfo=zone).astimezone(UTC)
