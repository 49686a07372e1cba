"""Matrices of float64, series × time; what is not known is NaN. Truths are 1 and 0."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from apps.devices.models import DeviceMetric, Metric
from apps.telemetry.aggregates.gaps import Fill
from apps.telemetry.aggregates.grid import stepped_grid
from apps.telemetry.aggregates.query import Aggregation, find
from apps.telemetry.reads.filters import ReadingFilter

UTC_ZONE = ZoneInfo("UTC")

_NEWEST = """
    SELECT series.place, r.ts, r.value
    FROM unnest(%(series)s::int[]) WITH ORDINALITY AS series (id, place)
    CROSS JOIN LATERAL (
        SELECT ts, coalesce(value_numeric, value_bool::int) AS value FROM telemetry
        WHERE device_metric_id = series.id{conditions} ORDER BY ts DESC LIMIT %(last)s
    ) AS r
    ORDER BY series.place, r.ts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """One value per step and series: `function` of the readings within the step, gaps filled as `fill` says."""

    start: datetime
    end: datetime
    step: timedelta
    function: str
    fill: Fill

    @property
    def count(self) -> int:
        return -((self.start - self.end) // self.step)


def numeric(series: list[DeviceMetric]) -> tuple[list[DeviceMetric], list[DeviceMetric]]:
    """Those that are numbers or truths, and those left out."""
    of_texts = [one for one in series if one.metric.data_type == Metric.DataType.STRING]
    return [one for one in series if one.metric.data_type != Metric.DataType.STRING], of_texts


def newest(
    series: list[DeviceMetric], last: int, where: ReadingFilter
) -> tuple[list[list[datetime | None]], np.ndarray]:
    """Times and values of the last so many readings of each, oldest first; a series with fewer begins with gaps."""
    conditions, params = where.sql()
    times: list[list[datetime | None]] = [[] for _ in series]
    values: list[list[float]] = [[] for _ in series]
    with connection.cursor() as cursor:
        cursor.execute(
            _NEWEST.format(conditions=conditions), params | {"series": [one.pk for one in series], "last": last}
        )
        for place, ts, value in cursor.fetchall():
            times[place - 1].append(ts)
            values[place - 1].append(value)
    matrix = np.full((len(series), last), np.nan)
    for row, known in enumerate(values):
        if known:
            matrix[row, -len(known) :] = known
            times[row] = [None] * (last - len(known)) + times[row]
        else:
            times[row] = [None] * last
    return times, matrix


def resampled(
    series: list[DeviceMetric], asked: Resampling, *, before: np.ndarray | None = None
) -> tuple[list[datetime], np.ndarray]:
    """When steps begin, and their values. `before`: what each series had last, to carry on from."""
    grid = stepped_grid(step=asked.step, start=asked.start, end=asked.end)
    aggregation = Aggregation(series=series, grid=grid, zone=UTC_ZONE, functions=[asked.function])
    matrix = np.full((len(series), len(grid.buckets)), np.nan)
    found = find(aggregation, series).rows
    for row, one in enumerate(series):
        for place, (value, *_) in found.get(one.pk, {}).items():
            matrix[row, place] = np.nan if value is None else value
        known = None if before is None else before[row]
        matrix[row] = _fill(matrix[row], asked.fill, known)
    return [edge.astimezone(UTC) for edge in grid.buckets], matrix


def slices(asked: Resampling, steps: int) -> list[Resampling]:
    """The same in parts of so many steps."""
    parts, begin = [], asked.start
    while begin < asked.end:
        end = min(asked.end, begin + asked.step * steps)
        parts.append(replace(asked, start=begin, end=end))
        begin = end
    return parts


def _fill(values: np.ndarray, fill: Fill, before: float | None) -> np.ndarray:
    known = np.flatnonzero(~np.isnan(values))
    if fill is Fill.LINEAR and len(known):
        return np.interp(np.arange(len(values)), known, values[known], left=np.nan, right=np.nan)
    if fill is Fill.PREVIOUS:
        source = np.concatenate(([np.nan if before is None else before], values))
        places = np.where(np.isnan(source), 0, np.arange(len(source)))
        return source[np.maximum.accumulate(places)][1:]
    return values
