"""The same readings in InfluxDB 1, if it is on this machine, asked over HTTP."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from io import BytesIO

import influx
from progress import Bar

# InfluxDB takes a body whole; of 30 bytes a line these are 250,000 lines.
BODY = 8 << 20
AT_ONCE = timedelta(days=2)
# date_part answers in float8, which is several times faster than extract's numeric and exact for milliseconds.
_LINES = """
    COPY (
        SELECT 't,s=' || device_metric_id || ' v=' || value_numeric || ' ' || (date_part('epoch', ts) * 1000)::bigint
        FROM telemetry WHERE ts >= '{start:%Y-%m-%d %H:%M:%SZ}' AND ts < '{end:%Y-%m-%d %H:%M:%SZ}'
    ) TO STDOUT
"""


def fill(store: influx.Influx, connection, *, start: datetime, end: datetime, readings: int) -> None:
    """Copied from the hub's database in the order of time; the next part is read while one is written."""
    store.clear()
    bar, done, written = Bar("lines to InfluxDB", readings), 0, Future()
    written.set_result(None)
    with ThreadPoolExecutor(1) as pool, connection.cursor() as cursor:
        while start < end:
            lines, until = BytesIO(), min(end, start + AT_ONCE)
            cursor.copy_expert(_LINES.format(start=start, end=until), lines)
            written.result()
            written = pool.submit(_write, store, lines.getbuffer())
            done, start = done + cursor.rowcount, until
            bar(done)
        written.result()
    connection.commit()


def _write(store: influx.Influx, lines: memoryview) -> None:
    for body in _bodies(lines):
        store.post("/write?db=bench&precision=ms", bytes(body))


def _bodies(lines: memoryview) -> Iterator[memoryview]:
    begin = 0
    while begin < len(lines):
        end = min(begin + BODY, len(lines))
        while lines[end - 1] != ord("\n"):
            end -= 1
        yield lines[begin:end]
        begin = end


def by_time(width: str, *, start: datetime, end: datetime, series_id: int | None = None, zone: str = "") -> str:
    of, by = ("", ", s") if series_id is None else (f" AND s = '{series_id}'", "")
    within = f"time >= '{start:%Y-%m-%dT%H:%M:%SZ}' AND time < '{end:%Y-%m-%dT%H:%M:%SZ}'"
    where = f" tz('{zone}')" if zone else ""
    return f"SELECT mean(v), min(v), max(v), count(v) FROM t WHERE {within}{of} GROUP BY time({width}){by}{where}"


def newest(series_id: int, count: int) -> str:
    return f"SELECT v FROM t WHERE s = '{series_id}' ORDER BY time DESC LIMIT {count}"


LATEST = "SELECT last(v) FROM t GROUP BY s"
