"""The common case of a large request, column by column: devices and metrics are known, every value is a number, every
time one that is taken. It costs a quarter of taking it message by message, which is what happens to any other.
"""

import struct
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from apps.telemetry.ingest.batch import LARGEST, OUT_OF_RANGE_QUALITY, Batch, array_of
from apps.telemetry.ingest.credentials import Credential
from apps.telemetry.ingest.formats import Format, Message
from apps.telemetry.ingest.presence import NO_LAG, Presence, due
from apps.telemetry.ingest.tables import Table, Tables

# With fewer, arrays cost more than they save.
LEAST_MESSAGES = 16
NONE = {type(None)}
NUMBERS = {float, int}


def take(
    messages: list[Message],
    tables: Tables,
    credential: Credential,
    form: Format,
    batch: Batch,
    lags: tuple[int, int],
) -> bool:
    """Fills the batch, or leaves it as it is and returns False. `lags` are the smallest and greatest
    received_at − timestamp (µs) that is taken.
    """
    metrics = [message.metrics for message in messages]
    groups = _groups(messages, metrics, tables, credential)
    numbers = _numbers(metrics)
    ts = _times(messages, form, batch.received_at)
    quality = _quality(messages)
    if groups is None or numbers is None or ts is None or quality is None:
        return False
    lag = batch.received_at - ts
    if lag.min() < lags[0] or lag.max() > lags[1]:
        return False
    sizes = array_of(list(map(len, metrics)), np.intp)
    batch.ts, batch.values, batch.quality = np.repeat(ts, sizes), numbers, np.repeat(quality, sizes)
    _fill(batch, groups, np.cumsum(sizes) - sizes)
    has_times = messages[0].timestamp is not None  # as all of them then have, or none
    batch.heard = _heard(groups, lag if has_times else None)
    return True


@dataclass(slots=True)
class _Group:
    """Messages with the same metrics: their numbers in the request, and where the table has their devices."""

    table: Table
    messages: np.ndarray
    places: np.ndarray
    rows: np.ndarray


def _groups(
    messages: list[Message], metrics: list[dict], tables: Tables, credential: Credential
) -> list[_Group] | None:
    own, owner = credential.serial_number, credential.owner_id
    serials = [message.serial_number or own for message in messages]
    if own is not None and serials.count(own) != len(serials):
        return None
    groups = []
    for names, numbers in _by_names(metrics).items():
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


def _by_names(metrics: list[dict]) -> dict[tuple[str, ...], Sequence[int]]:
    """Numbers of the messages."""
    names = list(map(tuple, metrics))
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


def _numbers(metrics: list[dict]) -> np.ndarray | None:
    values = list(chain.from_iterable(map(dict.values, metrics)))
    if not set(map(type, values)) <= NUMBERS:
        return None
    try:
        numbers = array_of(values, np.float64)
    except struct.error:
        return None
    return numbers if (np.abs(numbers) <= LARGEST).all() else None  # nor is NaN


def _times(messages: list[Message], form: Format, now: int) -> np.ndarray | None:
    """One for each message."""
    timestamps = [message.timestamp for message in messages]
    if set(map(type, timestamps)) == NONE:
        return np.full(len(timestamps), now)
    return form.all_micros(timestamps)


def _quality(messages: list[Message]) -> np.ndarray | None:
    """One for each message."""
    given = [message.quality for message in messages]
    if set(map(type, given)) == NONE:
        return np.ones(len(given), np.float32)
    quality = np.array([1.0 if one is None else one for one in given], np.float32)
    return quality if ((quality >= 0) & (quality <= 1)).all() else None
