"""The limit: raw binary COPY of the same rows into the same hypertable, packed beforehand.

The form of binary COPY: https://www.postgresql.org/docs/17/sql-copy.html#SQL-COPY-BINARY-FORMAT
"""

import time
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

import numpy as np
import window
from messages import HIGH, LOW, STEP_MS, Timeline
from processes import cpu_seconds, family
from services import Database
from target import Failure, Result

SQL = (
    "COPY telemetry (device_metric_id, ts, received_at, quality, value_numeric, value_bool, value_str)"
    " FROM STDIN BINARY"
)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
POSTGRES_EPOCH_MS = 946_684_800_000
# More than a machine takes in a second, so that packed rows don't run out; and a bound on their memory (62 bytes each).
ROWS_PER_SECOND = 900_000
MOST_ROWS = 40_000_000

# Each field is its length and its bytes; length −1 is NULL. Before them the number of fields.
ROW = np.dtype(
    [
        ("fields", ">i2"),
        *[("series_length", ">i4"), ("series", ">i4"), ("ts_length", ">i4"), ("ts", ">i8")],
        *[("received_length", ">i4"), ("received_at", ">i8"), ("quality_length", ">i4"), ("quality", ">f4")],
        *[("value_length", ">i4"), ("value", ">f8"), ("no_bool", ">i4"), ("no_str", ">i4")],
    ]
)


def measure(
    database: Database, series: list[int], timeline: Timeline, *, batch_rows: int, connections: int, seconds: float
) -> Result:
    steps = max(1, round(batch_rows / len(series)))
    rows = len(series) * steps
    wanted = min(ROWS_PER_SECOND * (seconds + window.WARM_UP), MOST_ROWS)
    batches = list(islice(_packed(series, timeline, steps), int(wanted / rows)))[::-1]
    database.clear()
    postmaster = database.postmaster()
    copied = []
    result = window.run(
        f"copy-{connections}",
        [_copier(database, batches, rows, copied) for _ in range(connections)],
        seconds,
        lambda: {"postgres": cpu_seconds(family(postmaster)), "generator": time.process_time()},
    )
    if sum(copied) != database.count():
        raise Failure(f"copy-{connections}: {sum(copied):,} rows were copied and the table holds {database.count():,}.")
    result.connections = connections
    result.note = f"batches of {rows:,} rows"
    return result


def _packed(series: list[int], timeline: Timeline, steps: int) -> Iterator[bytes]:
    """Batches of so many readings of every series, sorted by key."""
    rng = np.random.default_rng(1)
    rows = np.full(len(series) * steps, np.array((7, 4, 0, 8, 0, 8, 0, 4, 1.0, 8, 0, -1, -1), dtype=ROW))
    rows["series"] = np.repeat(sorted(series), steps)
    times = np.arange(steps) * STEP_MS - POSTGRES_EPOCH_MS
    while True:
        rows["ts"] = np.tile((timeline.take(steps) + times) * 1000, len(series))
        rows["received_at"] = int(time.time() * 1000 - POSTGRES_EPOCH_MS) * 1000
        rows["value"] = rng.uniform(LOW, HIGH, len(rows)).round(2)
        yield HEADER + rows.tobytes() + TRAILER


def _copier(database: Database, batches: list[bytes], rows: int, copied: list):
    def work(stop, tally) -> None:
        connection = database.connect()
        try:
            with connection.cursor() as cursor:
                while not stop.is_set():
                    body, began = BytesIO(batches.pop()), time.perf_counter()
                    cursor.copy_expert(SQL, body, size=1 << 20)
                    connection.commit()
                    tally.add(began, rows)
                    copied.append(rows)
        except IndexError:
            stop.set()  # all that was packed has been copied: the window ends early
        finally:
            connection.close()

    return work
