"""Exports by a web process as it runs in production: its memory, and what is left of them when the client leaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.db import connection
from rest_framework_simplejwt.tokens import AccessToken

from apps.devices.tests.factories import DeviceMetricFactory, MetricFactory
from apps.notifications.tests.receivers import wait_for
from tests.processes import HubProcesses

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

READINGS = 500_000
FORMS = ["csv", "ndjson", "parquet"]


@pytest.fixture
def hub(tmp_path):
    processes = HubProcesses(tmp_path)
    try:
        processes.start("web")
        processes.wait_until_live()
        yield processes
    finally:
        processes.stop()


@pytest.fixture
def readings(device) -> int:
    """Texts that don't compress: more of them in every form than sockets take that nobody reads from."""
    series = DeviceMetricFactory(device=device, metric=MetricFactory(data_type="str"))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry (device_metric_id, ts, value_str)"
            " SELECT %s, '2026-03-01Z'::timestamptz + n * interval '1 second', md5(n::text) || md5(random()::text)"
            " FROM generate_series(1, %s) n",
            [series.pk, READINGS],
        )
    return READINGS


@pytest.fixture
def export(hub, alex):
    def begin(form: str, **query) -> requests.Response:
        return requests.get(
            f"{hub.url}/api/v1/telemetry/export/",
            params={"format": form} | query,
            headers={"Authorization": f"Bearer {AccessToken.for_user(alex)}", "Accept-Encoding": "identity"},
            stream=True,
            timeout=30,
        )

    return begin


def blocks(answer: requests.Response) -> Iterator[bytes]:
    assert answer.status_code == 200
    return answer.iter_content(1 << 16)


@pytest.mark.parametrize("form", FORMS)
def test_client_that_disconnects_ends_the_query_and_what_serves_it(hub, readings, export, form):
    with export(form) as answer:
        begun = blocks(answer)  # forgotten, it would close the connection
        next(begun)
        assert len(exporting()) == 1
        assert len(encoders(hub)) == (form == "parquet")
    wait_for(lambda: not exporting() and not encoders(hub))


def test_memory_does_not_grow_with_what_is_exported(hub, readings, export):
    web = hub.pid("web")
    for form in FORMS:  # what is loaded once
        list(blocks(export(form, value_gt=2)))
    before = peak_mb(web)
    for form in FORMS:
        assert sum(map(len, blocks(export(form)))) > 32 * readings
    assert peak_mb(web) - before < 20


def exporting() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'COPY (%' AND state = 'active'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def encoders(hub: HubProcesses) -> list[str]:
    children = Path(f"/proc/{hub.pid('web')}/task").glob("*/children")
    return [pid for child in children for pid in child.read_text().split()]


def peak_mb(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
