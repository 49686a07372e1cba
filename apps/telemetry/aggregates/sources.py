"""Where the data of a grid comes from: as much as possible from the coarsest rollup that is exact for it."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db import connection

from apps.telemetry.aggregates.grid import Grid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN_FOR = 60.0  # seconds
ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Source:
    """A relation, the unit of time that its rows stand for, and until when it has all of them."""

    name: str
    relation: str
    unit: timedelta
    until: datetime = ALWAYS


RAW = Source("raw", "telemetry", timedelta(microseconds=1))
ROLLUPS = (
    Source("daily", "telemetry_daily", timedelta(days=1)),
    Source("hourly", "telemetry_hourly", timedelta(hours=1)),
)
# The tables below the views, where nothing of what is asked for has changed since the refresh. The planner does not
# know where the watermark is, so that for a view it looks at every chunk of readings, three times: 15 ms instead of 1.
_REFRESHED = """
    SELECT date_trunc('day', watermark, 'UTC'), watermark
    FROM telemetry_rollup_state
    WHERE isfinite(watermark) AND NOT EXISTS (
        SELECT FROM telemetry_invalidations
        WHERE device_metric_id = ANY(%(series)s) AND start_at < %(end)s AND end_at > %(start)s
    )
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """`start` ≤ t < `end` of a source."""

    source: Source
    start: datetime
    end: datetime


class _Existing:
    """Which rollups there are, asked once a minute: an upgrade may bring them while we run."""

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self._known, self._until = (), 0.0

    def pretend_none(self) -> None:
        """Until `forget`: for those who compare with readings alone."""
        self._known, self._until = (), float("inf")

    def rollups(self) -> tuple[Source, ...]:
        if time.monotonic() >= self._until:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT to_regclass(name) IS NOT NULL FROM unnest(%s) name", [[s.relation for s in ROLLUPS]]
                )
                there = [row[0] for row in cursor.fetchall()]
            self._known = tuple(source for source, is_there in zip(ROLLUPS, there, strict=True) if is_there)
            self._until = time.monotonic() + KNOWN_FOR
        return self._known


existing = _Existing()


def pieces_of(grid: Grid, series_ids: list[int]) -> list[Piece]:
    """The time asked for, cut so that each piece comes from the coarsest rollup that it holds whole units of.

    A rollup is exact where no edge between buckets lies within one of its units; so hours serve zones whose offset is
    whole hours, and days serve UTC.
    """
    exact = [source for source in _rollups(grid, series_ids) if grid.is_aligned_to(source.unit)]
    return _cut(grid.start, grid.end, [*exact, RAW])


def _rollups(grid: Grid, series_ids: list[int]) -> tuple[Source, ...]:
    """The tables that the hub keeps itself, as far as they have been refreshed; the views, if those are not exact."""
    known = existing.rollups()
    if known != ROLLUPS:
        return known
    with connection.cursor() as cursor:
        cursor.execute(_REFRESHED, {"series": series_ids, "start": grid.start, "end": grid.end})
        untils = cursor.fetchone()
    if untils is None:
        return known
    tables = ("rollup_days", "rollup_hours")
    return tuple(
        replace(source, relation=table, until=until) for source, table, until in zip(known, tables, untils, strict=True)
    )


def raw_piece(grid: Grid) -> list[Piece]:
    return [Piece(RAW, grid.start, grid.end)]


def coarsest(pieces: list[Piece]) -> str:
    return max((piece.source for piece in pieces), key=lambda source: source.unit, default=RAW).name


def _cut(start: datetime, end: datetime, sources: list[Source]) -> list[Piece]:
    if start >= end:
        return []
    source, *finer = sources
    if not finer:
        return [Piece(source, start, end)]
    first, last = -(-(start - EPOCH) // source.unit), (min(end, source.until) - EPOCH) // source.unit
    if first >= last:
        return _cut(start, end, finer)
    begin, until = EPOCH + first * source.unit, EPOCH + last * source.unit
    return [*_cut(start, begin, finer), Piece(source, begin, until), *_cut(until, end, finer)]
