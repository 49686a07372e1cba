"""Rows of COPY as Parquet with zstd: blocks of rows, read into columns by pyarrow, one row group each."""

import io

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from apps.devices.models import DeviceMetric

BLOCK_BYTES = 8 * 1024 * 1024
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


class ParquetRows:
    """Takes what COPY writes, a row at a time, and writes a file to `sink`."""

    def __init__(self, sink, series: list[DeviceMetric]):
        self._writer = pq.ParquetWriter(
            sink, SCHEMA, compression="zstd", use_dictionary=["device", "serial_number", "metric"]
        )
        names = [(str(one.device_id), one.device.serial_number, one.metric.name) for one in series]
        self._names = [pa.array(column, pa.string()).dictionary_encode() for column in zip(*names, strict=True)]
        self._block = bytearray()

    def write(self, row: bytes) -> int:
        self._block += row
        if len(self._block) >= BLOCK_BYTES:
            self._flush()
        return len(row)

    def close(self) -> None:
        if self._block:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = pa_csv.read_csv(
            io.BytesIO(self._block),
            read_options=pa_csv.ReadOptions(column_names=list(COPIED), use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=READING,
        )
        self._block = bytearray()
        places = table["place"].combine_chunks()
        names = [known.take(places) for known in self._names]
        self._writer.write_table(pa.table([*names, *table.columns[1:]], schema=SCHEMA))
