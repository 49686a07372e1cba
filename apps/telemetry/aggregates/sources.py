"""Where the data of a grid comes from: as much as possible from the coarsest rollup that is exact for it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from apps.telemetry.aggregates.grid import Grid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN_FOR = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Source:
    """A relation, and the unit of time that its rows stand for."""

    name: str
    relation: str
    unit: timedelta


RAW = Source("raw", "telemetry", timedelta(microseconds=1))
ROLLUPS = (
    Source("daily", "telemetry_daily", timedelta(days=1)),
    Source("hourly", "telemetry_hourly", timedelta(hours=1)),
)


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


def pieces_of(grid: Grid) -> list[Piece]:
    """The time asked for, cut so that each piece comes from the coarsest rollup that it holds whole units of.

    A rollup is exact where no edge between buckets lies within one of its units; so hours serve zones whose offset is
    whole hours, and days serve UTC.
    """
    exact = [source for source in existing.rollups() if grid.is_aligned_to(source.unit)]
    return _cut(grid.start, grid.end, [*exact, RAW])


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
    first, last = -(-(start - EPOCH) // source.unit), (end - EPOCH) // source.unit
    if first >= last:
        return _cut(start, end, finer)
    begin, until = EPOCH + first * source.unit, EPOCH + last * source.unit
    return [*_cut(start, begin, finer), Piece(source, begin, until), *_cut(until, end, finer)]
