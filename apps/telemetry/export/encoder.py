"""Rows of COPY on stdin, Parquet with zstd on stdout. The first line is JSON: [device, serial number, metric] of each
series, in the order of the rows.

A process of its own, which imports nothing of the hub: pyarrow would add 60 MB to the web process for good.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

PIECE_BYTES = 256 * 1024
GROUP_ROWS = 65_536
TIME = pa.timestamp("us", "UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
COPIED = {
    "place": pa.int32(),
    "timestamp": TIME,
    "value": pa.float64(),
    "value_bool": pa.bool_(),
    "value_text": pa.string(),
    "quality": pa.float32(),
    "received_at": TIME,
}
SCHEMA = pa.schema([("device", NAME), ("serial_number", NAME), ("metric", NAME), *list(COPIED.items())[1:]])
READING = pa_csv.ConvertOptions(
    column_types=COPIED,
    true_values=["t"],
    false_values=["f"],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)


class _Counted:
    """A pipe that can tell how much went into it; Parquet points back to that."""

    closed = False

    def __init__(self, pipe: BinaryIO):
        self._pipe, self._position = pipe, 0

    def write(self, block) -> int:
        self._position += len(block)
        return self._pipe.write(block)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._pipe.flush()


def encode(rows: BinaryIO, sink: BinaryIO) -> None:
    names = list(zip(*json.loads(rows.readline()), strict=True))
    options = {"compression": "zstd", "use_dictionary": ["device", "serial_number", "metric"]}
    with pq.ParquetWriter(_Counted(sink), SCHEMA, **options) as writer:
        for group in _groups(rows):
            writer.write_table(_with_names(group, names))
    sink.flush()


def _groups(rows: BinaryIO) -> Iterator[pa.Table]:
    batches, count = [], 0
    for batch in _batches(rows):
        batches.append(batch)
        count += len(batch)
        if count >= GROUP_ROWS:
            yield pa.Table.from_batches(batches)
            batches, count = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _batches(rows: BinaryIO) -> Iterator[pa.RecordBatch]:
    """In small pieces, since as text they are larger than as columns."""
    if not rows.peek(1):
        return
    yield from pa_csv.open_csv(
        rows,
        read_options=pa_csv.ReadOptions(column_names=list(COPIED), block_size=PIECE_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=READING,
    )


def _with_names(group: pa.Table, names: list[Sequence[str]]) -> pa.Table:
    places = group["place"].to_numpy()
    return pa.table([*(_named(places, column) for column in names), *group.columns[1:]], schema=SCHEMA)


def _named(places: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """The name at each place, of the few series that these rows are of. pyarrow could do it too, for 12 MB more."""
    first, last = int(places[0]), int(places[-1])
    words, codes = np.unique(names[first : last + 1], return_inverse=True)
    return pa.DictionaryArray.from_arrays(codes[places - first].astype(np.int32), words.tolist())


if __name__ == "__main__":
    encode(sys.stdin.buffer, sys.stdout.buffer)
