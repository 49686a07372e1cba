"""`/metrics` for Prometheus: what ingest counted, and what the database says at the moment of asking."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from hmac import compare_digest

from celery.signals import task_postrun
from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from apps.telemetry.ingest import metrics  # noqa: F401 - a process that took no reading yet tells zeros
from iot_hub.database import report

SWEPT = "metrics:swept:"
SWEEPS = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
LOOPBACK = {"127.0.0.1", "::1"}


@task_postrun.connect
def note_sweep(task=None, state=None, **_) -> None:
    """Workers are other processes, so that the time travels through the cache. Never the reason that a task fails."""
    if task is None or task.name not in SWEEPS or state != "SUCCESS":
        return
    with suppress(Exception):  # Redis is away, which readyz tells
        cache.set(SWEPT + task.name, time.time(), timeout=None)


@never_cache
@require_safe
def view(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        return HttpResponse("Metrics are for this machine, for admins and for who has METRICS_TOKEN.\n", status=403)
    state = CollectorRegistry(auto_describe=False)
    state.register(HubState())
    return HttpResponse(generate_latest(_counted()) + generate_latest(state), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    token = settings.METRICS_TOKEN
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and compare_digest(sent.strip().encode(), token.encode()):
        return True
    # Behind a proxy on this machine everyone comes from here, and the proxy says for whom it asks.
    proxied = {"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} & set(request.headers)
    if request.META.get("REMOTE_ADDR") in LOOPBACK and not proxied:
        return True
    return request.user.is_authenticated and request.user.is_superuser


def _counted() -> CollectorRegistry:
    """Of this process, or of all web processes where there are several and they share a folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class HubState:
    """Asked at each scrape: a few counts over partial indexes, and one call for the size."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from self._database()
            up = 1
        except Error:
            up = 0
        yield GaugeMetricFamily("iot_hub_database_up", "Whether the database answered this scrape.", value=up)
        yield from self._sweeps()

    def _database(self) -> list[GaugeMetricFamily]:
        waiting = GaugeMetricFamily("iot_hub_outbox_waiting", "Rows that wait to be done.", labels=["outbox"])
        oldest = GaugeMetricFamily("iot_hub_outbox_oldest_seconds", "Age of the oldest of them.", labels=["outbox"])
        for row in report.outboxes(connection):
            name = row["outbox"].replace(" with an error", "_failed")
            waiting.add_metric([name], row["waiting"])
            oldest.add_metric([name], time.time() - row["oldest"].timestamp() if row["oldest"] else 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            size = GaugeMetricFamily("iot_hub_database_bytes", "Size of the database.", value=cursor.fetchone()[0])
        return [waiting, oldest, size]

    def _sweeps(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("iot_hub_sweep_timestamp_seconds", "When a sweep last went well.", labels=["task"])
        try:
            times = cache.get_many([SWEPT + name for name in sorted(SWEEPS)])
        except Exception:
            times = {}
        for key, moment in times.items():
            family.add_metric([key.removeprefix(SWEPT)], moment)
        yield family
