"""The common case of a large request, column by column: devices and metrics are known, every value is a number, every
time one that is taken. It costs a quarter of taking it message by message, which is what happens to any other.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.telemetry.ingest.batch import LARGEST, OUT_OF_RANGE_QUALITY, Batch, array_of
from apps.telemetry.ingest.credentials import Credential
from apps.telemetry.ingest.formats.columns import MessageColumns
from apps.telemetry.ingest.presence import NO_LAG, Presence, due
from apps.telemetry.ingest.tables import Table, Tables

# With fewer, arrays cost more than they save.
LEAST_MESSAGES = 16


def take(columns: MessageColumns, tables: Tables, credential: Credential, batch: Batch, lags: tuple[int, int]) -> bool:
    """Fills the batch, or leaves it as it is and returns False. `lags` are the smallest and greatest
    received_at − timestamp (µs) that is taken.
    """
    groups = _groups(columns, tables, credential)
    if groups is None or not (np.abs(columns.numbers) <= LARGEST).all():  # nor is NaN
        return False
    quality = np.ones(len(columns), np.float32) if columns.quality is None else columns.quality
    ts = np.full(len(columns), batch.received_at) if columns.ts is None else columns.ts
    lag = batch.received_at - ts
    if lag.min() < lags[0] or lag.max() > lags[1] or not ((quality >= 0) & (quality <= 1)).all():
        return False
    sizes = array_of(list(map(len, columns.names)), np.intp)
    batch.ts, batch.values, batch.quality = np.repeat(ts, sizes), columns.numbers, np.repeat(quality, sizes)
    _fill(batch, groups, np.cumsum(sizes) - sizes)
    batch.heard = _heard(groups, None if columns.ts is None else lag)
    return True


@dataclass(slots=True)
class _Group:
    """Messages with the same metrics: their numbers in the request, and where the table has their devices."""

    table: Table
    messages: np.ndarray
    places: np.ndarray
    rows: np.ndarray


def _groups(columns: MessageColumns, tables: Tables, credential: Credential) -> list[_Group] | None:
    own, owner = credential.serial_number, credential.owner_id
    serials = columns.serials
    if own is not None:
        serials = [serial or own for serial in serials]
        if serials.count(own) != len(serials):
            return None
    groups = []
    for names, numbers in _by_names(columns.names).items():
        table = tables.get(names)
        if table is None:
            return None
        try:
            places = array_of([table.places[serials[number]] for number in numbers], np.intp)
        except KeyError:
            return None
        rows = table.rows[places]
        if owner is not None and (rows["owner_id"] != owner).any():
            return None
        groups.append(_Group(table, array_of(numbers, np.intp), places, rows))
    return groups


def _by_names(names: list[tuple[str, ...]]) -> dict[tuple[str, ...], Sequence[int]]:
    """Numbers of the messages."""
    if names.count(names[0]) == len(names):
        return {names[0]: range(len(names))}
    numbers = defaultdict(list)
    for number, one in enumerate(names):
        numbers[one].append(number)
    return numbers


def _fill(batch: Batch, groups: list[_Group], starts: np.ndarray) -> None:
    """What the tables know. `starts` are where each message's readings begin."""
    batch.series = np.empty(len(batch.values), np.int32)
    shards = np.empty(len(batch.values), np.int32)
    is_watched = np.empty(len(batch.values), np.bool_)
    for group in groups:
        rows = group.rows
        at = starts[group.messages][:, None] + np.arange(rows["series"].shape[1])
        batch.series[at], shards[at], is_watched[at] = rows["series"], rows["shard"][:, None], rows["is_watched"]
        values = batch.values[at]
        outside = at[(values < rows["low"]) | (values > rows["high"])]
        batch.quality[outside] = np.minimum(batch.quality[outside], OUT_OF_RANGE_QUALITY)
    watched = np.flatnonzero(is_watched)
    columns = (shards, batch.series, batch.ts, batch.values)
    batch.watched = list(zip(*(column[watched].tolist() for column in columns), strict=True))


def _heard(groups: list[_Group], lags: np.ndarray | None) -> list[Presence]:
    """Those that are due. Of all the others only a lag smaller than known is noted."""
    now, heard = time.monotonic(), []
    for group in groups:
        own_lags = np.full(len(group.rows), NO_LAG) if lags is None else lags[group.messages]
        noticed = (group.rows["due_at"] <= now) | (own_lags < group.rows["least_lag"])
        for place, lag in zip(group.places[noticed].tolist(), own_lags[noticed].tolist(), strict=True):
            heard.append(group.table.hear(place, lag))
    return due(heard, now)
