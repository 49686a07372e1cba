"""`/metrics`: what Prometheus reads, and who may."""

import os
import subprocess
import sys

import pytest
from celery.signals import task_postrun
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from apps.notifications.tasks import send_due
from apps.telemetry.models import WatchedBatch
from apps.telemetry.tests.conftest import issue
from tests.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def scrape() -> dict[tuple, float]:
    """Values by name and label values."""
    response = Client().get("/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.content.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def post(key: str, body: str, query: str = "") -> int:
    headers = {"Authorization": f"Token {key}"}
    return Client().post(f"/api/v1/telemetry/{query}", body, "application/json", headers=headers).status_code


def test_ingest_is_counted_by_outcome_status_and_reason(ingesting, device):
    key, before = issue(device), scrape()
    reading = '{"timestamp": "2026-11-20T10:00:00Z", "metrics": {"a": 1, "b": 2}}'
    assert post(key, reading) == 201
    assert post(key, reading) == 201
    assert post(key, reading, "?on_conflict=overwrite") == 201
    assert post(key, '{"timestamp": "2099-01-01T00:00:00Z", "metrics": {"a": 1}}') == 400
    assert post("nobody", reading) == 401
    after = scrape()

    def grown(*name) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert [grown("iot_hub_ingest_readings_total", how) for how in ("accepted", "duplicate", "updated")] == [2, 2, 2]
    assert [grown("iot_hub_ingest_requests_total", status) for status in ("201", "400", "401")] == [3, 1, 1]
    assert grown("iot_hub_ingest_rejected_readings_total", "timestamp_in_future") == 1
    assert grown("iot_hub_ingest_group_readings_sum") == 6
    assert grown("iot_hub_ingest_group_seconds_count") == 3
    assert after["iot_hub_ingest_queued_readings",] == 0


def test_outboxes_database_and_sweeps_are_told():
    WatchedBatch.objects.create(shard=1, payload=b"")
    task_postrun.send(sender=send_due, task=send_due, state="SUCCESS")
    values = scrape()
    assert values["iot_hub_outbox_waiting", "watched_batches"] == 1
    assert values["iot_hub_outbox_waiting", "undispatched_events"] == 0
    assert values["iot_hub_outbox_waiting", "due_deliveries"] == 0
    assert values["iot_hub_database_bytes",] > 1_000_000
    assert values["iot_hub_database_up",] == 1
    assert values["iot_hub_sweep_timestamp_seconds", "notifications.send_due"] > 1_700_000_000


@pytest.mark.parametrize("headers", [{"REMOTE_ADDR": "10.0.0.9"}, {"HTTP_X_FORWARDED_FOR": "10.0.0.9"}])
def test_strangers_from_elsewhere_are_refused(headers):
    assert Client(**headers).get("/metrics").status_code == 403


def test_token_opens_it_from_elsewhere(settings):
    elsewhere = Client(REMOTE_ADDR="10.0.0.9")
    settings.METRICS_TOKEN = "scrape-me"
    assert elsewhere.get("/metrics", headers={"Authorization": "Bearer scrape-me"}).status_code == 200
    assert elsewhere.get("/metrics", headers={"Authorization": "Bearer other"}).status_code == 403
    settings.METRICS_TOKEN = ""
    assert elsewhere.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 403


def test_admin_sees_it_from_elsewhere_and_a_client_does_not(admin, alex):
    for user, status in ((admin, 200), (alex, 403)):
        client = Client(REMOTE_ADDR="10.0.0.9")
        client.force_login(user)
        assert client.get("/metrics").status_code == status


def test_several_web_processes_add_up(tmp_path):
    """Two processes count, a third one tells."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    setup = "import django; django.setup(); from apps.telemetry.ingest import metrics; "
    sample = "get_sample_value('iot_hub_ingest_requests_total', {'status': '201'})"
    tell = f"from iot_hub.metrics import _counted; print(_counted().{sample})"
    environment["DJANGO_SETTINGS_MODULE"] = "iot_hub.settings"
    for code in ("metrics.answered(201)", "metrics.answered(201)", tell):
        result = subprocess.run(
            [sys.executable, "-c", setup + code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert result.stdout.strip() == "2.0"
