"""Checked readings of one request, as columns: what the resolver hands to the writer."""

from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from apps.telemetry.ingest.receipt import Receipt

Value = float | bool | str

# The lag of a device that sends no times.
NO_LAG = inf


@dataclass(slots=True)
class Batch:
    """`series` (ids), `ts` (µs since 1970), `values` and `quality` are of one length.

    `is_mixed` says that some value is not a float. `watched` repeats the readings that some rule watches, as
    (shard, series id, µs, value). `heard` are the devices that sent something, each with the smallest
    received_at − timestamp (µs) of its messages.
    """

    received_at: int
    overwrite: bool = False
    series: list[int] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    is_mixed: bool = False
    watched: list[tuple[int, int, int, Value]] = field(default_factory=list)
    heard: list[tuple[UUID, float]] = field(default_factory=list)
    receipt: Receipt = field(default_factory=Receipt)

    def __len__(self) -> int:
        return len(self.series)
