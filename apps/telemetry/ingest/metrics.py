"""What ingest counts for `/metrics`: once per request and once per group commit, never per reading."""

import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.receipt import Receipt

READINGS = Counter("iot_hub_ingest_readings", "Readings answered after a commit.", ["outcome"])
REJECTED = Counter("iot_hub_ingest_rejected_readings", "Readings rejected, by reason.", ["code"])
REQUESTS = Counter("iot_hub_ingest_requests", "Ingest requests answered.", ["status"])
GROUP_READINGS = Histogram(
    "iot_hub_ingest_group_readings", "Readings committed as one.", buckets=(1, 10, 100, 1_000, 10_000, 50_000)
)
GROUP_SECONDS = Histogram(
    "iot_hub_ingest_group_seconds",
    "How long a group took to commit.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
QUEUED = Gauge("iot_hub_ingest_queued_readings", "Readings still waiting for the writer.", multiprocess_mode="livesum")

_accepted, _duplicates, _updated = (READINGS.labels(outcome) for outcome in ("accepted", "duplicate", "updated"))


@contextmanager
def committing(batches: list[Batch], *, queued: int) -> Iterator[None]:
    """Around the commit of a group; one that fails, or that only tells of devices, is not counted. `queued` is what
    waits behind it.
    """
    QUEUED.set(queued)
    begin = time.perf_counter()
    yield
    readings = sum(map(len, batches))
    if not readings:
        return
    GROUP_SECONDS.observe(time.perf_counter() - begin)
    GROUP_READINGS.observe(readings)
    _accepted.inc(sum(batch.receipt.accepted for batch in batches))
    _duplicates.inc(sum(batch.receipt.duplicates for batch in batches))
    _updated.inc(sum(batch.receipt.updated for batch in batches))


@cache
def _requests(status: int) -> Counter:
    return REQUESTS.labels(status)


def answered(status: int, receipt: Receipt | None = None) -> None:
    _requests(status).inc()
    if receipt is not None and receipt.rejected_count:
        for code, count in Tally(rejection["code"] for rejection in receipt.rejected).items():
            REJECTED.labels(code).inc(count)
        # A receipt lists the first hundred with their reasons and counts the rest.
        REJECTED.labels("unlisted").inc(receipt.rejected_count - len(receipt.rejected))
