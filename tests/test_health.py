"""`/healthz`, `/readyz` and the pages around the API."""

import re

import pytest
from django.contrib.staticfiles import finders
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from iot_hub import health
from iot_hub.celery import app as celery_app


@pytest.fixture
def worker(monkeypatch):
    """A worker that answers, or none: `worker.clear()`. What was remembered of it is forgotten."""
    answers = [{"celery@test": [{"name": "celery"}]}, {"sender@test": [{"name": "sending"}]}]
    monkeypatch.setattr(celery_app.control, "broadcast", lambda *_, limit, **__: answers[:limit])
    health.check_workers.forget()
    health.check_migrations.forget()
    yield answers
    health.check_workers.forget()
    health.check_migrations.forget()


def ready(client) -> tuple[int, dict]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()


def test_process_lives_without_asking_anybody(client, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_hub_is_ready_when_everything_answers(client, db, worker):
    status, body = ready(client)
    assert status == 200, body
    assert body["status"] == "ok"
    assert {name: check["status"] for name, check in body["checks"].items()} == {
        "database": "ok",
        "redis": "ok",
        "migrations": "ok",
        "workers": "ok",
    }


def test_hub_without_a_worker_is_not_ready(client, db, worker):
    worker.clear()
    status, body = ready(client)
    assert (status, body["status"]) == (503, "unavailable")
    assert body["checks"]["workers"] == {"status": "unavailable", "detail": "no worker answers"}
    assert body["checks"]["database"]["status"] == "ok"


def test_hub_without_a_worker_for_sending_is_not_ready(client, db, worker):
    worker.pop()
    status, body = ready(client)
    assert status == 503
    assert body["checks"]["workers"] == {"status": "unavailable", "detail": "nobody takes from sending"}


def test_worker_for_sending_may_be_the_last_to_answer(client, db, worker):
    worker[:0] = [worker[0]] * 3
    assert ready(client)[0] == 200


def test_worker_is_seen_as_soon_as_it_is_back(client, db, worker):
    answers = list(worker)
    worker.clear()
    assert ready(client)[0] == 503
    worker.extend(answers)
    assert ready(client)[0] == 200


def test_hub_without_redis_is_not_ready_and_tells_no_address(client, db, worker, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    status, body = ready(client)
    assert status == 503
    assert body["checks"]["redis"] == {
        "status": "unavailable",
        "detail": "does not answer (ConnectionError)",
    }


def test_hub_with_migrations_to_apply_is_not_ready(client, db, worker):
    MigrationRecorder.Migration.objects.filter(app="devices", name="0003_device_type_raw_retention").delete()
    status, body = ready(client)
    assert status == 503
    assert body["checks"]["migrations"] == {"status": "unavailable", "detail": "1 to apply"}


def test_front_door_leads_to_the_admin_and_the_api_to_its_docs(client):
    assert client.get("/")["Location"] == "/admin/"
    assert client.get("/api/")["Location"] == "/api/docs/"


def test_docs_load_nothing_from_elsewhere_and_have_no_script_within_the_page(client):
    page = client.get("/api/docs/").content.decode()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) >= 4
    for source in sources:
        assert source.startswith("/"), source
        assert not source.startswith("//"), source
        if source.startswith("/static/"):
            assert finders.find(source.removeprefix("/static/")), source
    assert not re.search(r"<script[^>]*>\s*[^<\s]", page)
    assert "<style" not in page
    script = client.get("/api/docs/?script=")
    assert script["Content-Type"].startswith("application/javascript")
    assert "/api/schema/" in script.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/nothing/", "/api/nothing"])
def test_nothing_under_api_is_told_as_a_problem(path):
    answer = Client().get(path)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_nothing_elsewhere_is_told_as_a_page():
    answer = Client().get("/nothing")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
