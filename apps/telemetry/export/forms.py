"""The forms of an export: the statement that each is copied by. Sorted by series, then time."""

from dataclasses import dataclass
from enum import StrEnum
from json import dumps

from apps.devices.models import DeviceMetric
from apps.telemetry.reads.filters import ReadingFilter

COLUMNS = ("device", "serial_number", "metric", "timestamp", "value", "quality", "received_at")

# A series after the other, each by its index: nothing is sorted, so the first row comes at once and memory is constant.
_SOURCE = """
    FROM unnest(%(series)s::int[], %(heads)s::text[], %(metrics)s::text[]) AS series (id, head, metric)
    CROSS JOIN LATERAL (
        SELECT * FROM telemetry WHERE device_metric_id = series.id{conditions} ORDER BY ts
    ) AS reading"""
_ISO = """to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_TS, _RECEIVED = _ISO.format(column="ts"), _ISO.format(column="received_at")

_CSV = f"""COPY (
    SELECT split_part(head, ' ', 1) AS device, substr(head, 38) AS serial_number, metric, {_TS} AS "timestamp",
        coalesce(value_numeric::text, value_bool::text, value_str) AS value, quality, {_RECEIVED} AS received_at
    {{source}}
) TO STDOUT WITH (FORMAT csv, HEADER)"""
# The text is JSON already. Quote and delimiter are characters that JSON never has as they are, so COPY changes nothing.
_NDJSON = f"""COPY (
    SELECT head || {_TS} || '","value":'
        || coalesce(value_numeric::text, value_bool::text, to_json(value_str)::text)
        || ',"quality":' || quality || ',"received_at":"' || {_RECEIVED} || '"}}}}'
    {{source}}
) TO STDOUT WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"""
# What pyarrow reads back into columns; names of devices and metrics are put in by the number of the series.
_COLUMNS = """COPY (
    SELECT head::int AS place, ts, value_numeric, value_bool, value_str, quality, received_at
    {source}
) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (value_str))"""


class Form(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


CONTENT_TYPES = {
    Form.CSV: "text/csv; charset=utf-8",
    Form.NDJSON: "application/x-ndjson",
    Form.PARQUET: "application/vnd.apache.parquet",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to export; the series come with their devices."""

    series: list[DeviceMetric]
    where: ReadingFilter
    form: Form


def copy_statement(order: Order) -> tuple[str, dict]:
    conditions, params = order.where.sql()
    template = {Form.CSV: _CSV, Form.NDJSON: _NDJSON, Form.PARQUET: _COLUMNS}[order.form]
    params |= {
        "series": [one.pk for one in order.series],
        "heads": [_head(order.form, place, one) for place, one in enumerate(order.series)],
        "metrics": [one.metric.name for one in order.series],
    }
    return template.format(source=_SOURCE.format(conditions=conditions)), params


def _head(form: Form, place: int, one: DeviceMetric) -> str:
    """What is the same in all rows of a series, so that it is put together once."""
    if form is Form.CSV:
        return f"{one.device_id} {one.device.serial_number}"
    if form is Form.NDJSON:
        names = {"device": str(one.device_id), "serial_number": one.device.serial_number, "metric": one.metric.name}
        return dumps(names, separators=(",", ":"))[:-1] + ',"timestamp":"'
    return str(place)
