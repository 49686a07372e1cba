"""A matrix as Parquet: a column of times and one for each series, as tools for learning like it."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.devices.models import DeviceMetric
from apps.telemetry.matrix.windows import Resampling, resampled, slices

# Of a slice, so that memory stays the same however long the time.
CELLS = 4_000_000


def column_names(series: list[DeviceMetric]) -> list[str]:
    return [f"{one.device.serial_number}.{one.metric.name}" for one in series]


def write_matrix(sink, series: list[DeviceMetric], times: list[datetime], matrix: np.ndarray) -> None:
    with pq.ParquetWriter(sink, _schema(series), compression="zstd") as writer:
        _write(writer, times, matrix)


def write_training_set(
    sink, series: list[DeviceMetric], asked: Resampling, *, on_steps: Callable[[int], None] = lambda steps: None
) -> int:
    """Slice by slice; how many steps there are. A line between neighbours is drawn within a slice only."""
    done, before = 0, None
    with pq.ParquetWriter(sink, _schema(series), compression="zstd") as writer:
        for part in slices(asked, max(1, CELLS // max(1, len(series)))):
            times, matrix = resampled(series, part, before=before)
            _write(writer, times, matrix)
            before = matrix[:, -1]
            done += len(times)
            on_steps(done)
    return done


def _schema(series: list[DeviceMetric]) -> pa.Schema:
    columns = [(name, pa.float64()) for name in column_names(series)]
    return pa.schema([("timestamp", pa.timestamp("us", "UTC")), *columns])


def _write(writer: pq.ParquetWriter, times: list[datetime], matrix: np.ndarray) -> None:
    columns = [pa.array(times, pa.timestamp("us", "UTC"))]
    columns += [pa.array(row, from_pandas=True) for row in matrix]  # NaN becomes null
    writer.write_table(pa.Table.from_arrays(columns, schema=writer.schema))
