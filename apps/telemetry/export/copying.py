"""An export from the database to a file-like sink, in the thread and with the connection of the caller."""

import zlib
from collections.abc import Callable

from django.db import connection

from apps.telemetry.export.forms import Form, Order, copy_statement
from apps.telemetry.export.parquet import ParquetRows

GZIP = 31  # what zlib calls a gzip header with the largest window
BLOCK_BYTES = 256 * 1024


class _Blocks:
    """Collects rows into blocks, compressed if asked to be."""

    def __init__(self, sink, *, gzip: bool):
        self._sink, self._block = sink, bytearray()
        self._gzip = zlib.compressobj(level=5, wbits=GZIP) if gzip else None

    def __enter__(self) -> "_Blocks":
        return self

    def __exit__(self, *failure) -> None:
        pass

    def write(self, row: bytes) -> int:
        self._block += row
        if len(self._block) >= BLOCK_BYTES:
            self._flush()
        return len(row)

    def finish(self) -> None:
        self._flush()
        if self._gzip:
            self._sink.write(self._gzip.flush())

    def _flush(self) -> None:
        block, self._block = bytes(self._block), bytearray()
        self._sink.write(self._gzip.compress(block) if self._gzip else block)


class _Counted:
    """psycopg2 writes a row at a time."""

    def __init__(self, rows, on_rows: Callable[[int], None]):
        self._write, self._on_rows, self._count = rows.write, on_rows, 0

    def write(self, row: bytes) -> int:
        self._count += 1
        if self._count % 100_000 == 0:
            self._on_rows(self._count)
        return self._write(row)


def export(order: Order, sink, *, gzip: bool = False, on_rows: Callable[[int], None] | None = None) -> int:
    """Write all readings of the order to `sink.write`; how many they were. Parquet is compressed in itself."""
    made = ParquetRows(sink, order.series) if order.form is Form.PARQUET else _Blocks(sink, gzip=gzip)
    with made as rows, connection.cursor() as cursor:
        # Times are read back as UTC whatever the session says.
        statement = cursor.mogrify(*copy_statement(order)).decode()
        cursor.copy_expert(statement, _Counted(rows, on_rows) if on_rows else rows)
        rows.finish()
        return cursor.rowcount
