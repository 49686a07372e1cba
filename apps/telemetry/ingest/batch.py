"""Checked readings of one request, as columns: what the resolver hands to the writer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from struct import pack

import numpy as np

from apps.telemetry.ingest.presence import Presence
from apps.telemetry.ingest.receipt import Receipt

Value = float | bool | str

# The quality of a reading that lies outside the range expected of its series.
OUT_OF_RANGE_QUALITY = 0.5
# Squares of larger values overflow, and with them the sums that rollups keep.
LARGEST = 1e150


@dataclass(slots=True)
class Batch:
    """`series` (ids), `ts` (µs since 1970), `values` and `quality` are of one length: lists, or arrays if it is large.

    `is_mixed` says that some value is not a float. `watched` repeats the readings that some rule watches, as
    (shard, series id, µs, value). `heard` are the devices that sent something and whose rows are due.
    """

    received_at: int
    overwrite: bool = False
    series: Sequence[int] | np.ndarray = field(default_factory=list)
    ts: Sequence[int] | np.ndarray = field(default_factory=list)
    values: Sequence[Value] | np.ndarray = field(default_factory=list)
    quality: Sequence[float] | np.ndarray = field(default_factory=list)
    is_mixed: bool = False
    watched: list[tuple[int, int, int, Value]] = field(default_factory=list)
    heard: list[Presence] = field(default_factory=list)
    receipt: Receipt = field(default_factory=Receipt)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def rows(self) -> list[tuple[int, int, Value, float]]:
        columns = (self.series, self.ts, self.values, self.quality)
        listed = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns]
        return list(zip(*listed, strict=True))


def column_of(batches: list[Batch], name: str, dtype: type) -> np.ndarray:
    """One column of all batches, one after the other."""
    parts = [getattr(batch, name) for batch in batches]
    if set(map(type, parts)) <= {list}:
        return array_of(list(chain.from_iterable(parts)), dtype)
    return np.concatenate([np.asarray(part, dtype) for part in parts])


def array_of(numbers: Sequence[float], dtype: type) -> np.ndarray:
    """A list of Python's numbers as an array, read-only, three times as fast as numpy makes it.
    Raises struct.error for what is no number, or too large.
    """
    return np.frombuffer(pack(f"@{len(numbers)}{np.dtype(dtype).char}", *numbers), dtype)


def listed(column: np.ndarray) -> str:
    """What stands between the braces of an array in SQL."""
    return repr(column.tolist())[1:-1]
