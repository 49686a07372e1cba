"""Whether this process lives (`/healthz`), and whether the hub can do its work (`/readyz`)."""

import logging
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from iot_hub.celery import app as celery_app

logger = logging.getLogger(__name__)

REDIS_TIMEOUT = 2
WORKER_TIMEOUT = 1


class NotReady(Exception):
    """Its text is what the outside may know."""


def _remembered(seconds: float):
    """An answer that costs something is good for a while, so that probes can't load the hub. Failures are not kept."""

    def wrap(check: Callable[[], str]) -> Callable[[], str]:
        last = {"until": 0.0, "answer": ""}

        def remembering() -> str:
            if time.monotonic() >= last["until"]:
                last["answer"] = check()
                last["until"] = time.monotonic() + seconds
            return last["answer"]

        remembering.forget = lambda: last.update(until=0.0)
        return remembering

    return wrap


def check_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "answers"


def check_redis() -> str:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
    )
    with client:
        client.ping()
    return "answers"


@_remembered(seconds=60)
def check_migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotReady(f"{len(missing)} to apply")
    return "all applied"


@_remembered(seconds=10)
def check_workers() -> str:
    """Somebody has to take from every queue. Usually the first two to answer do; else all are heard."""
    wanted = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    for first in (2, None):
        taken = _queues_taken(first)
        if wanted <= taken:
            return "answer"
    raise NotReady(f"nobody takes from {', '.join(sorted(wanted - taken))}" if taken else "no worker answers")


def _queues_taken(first: int | None) -> set[str]:
    answers = celery_app.control.broadcast("active_queues", reply=True, timeout=WORKER_TIMEOUT, limit=first)
    return {queue["name"] for answer in answers for queues in answer.values() for queue in queues}


CHECKS = {
    "database": check_database,
    "redis": check_redis,
    "migrations": check_migrations,
    "workers": check_workers,
}


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 or 503; each check with its status and a detail that names no host and no secret."""
    checks = {name: _run(name, check) for name, check in CHECKS.items()}
    ready = all(check["status"] == "ok" for check in checks.values())
    body = {"status": "ok" if ready else "unavailable", "checks": checks}
    return JsonResponse(body, status=200 if ready else 503)


def _run(name: str, check: Callable[[], str]) -> dict[str, str]:
    try:
        return {"status": "ok", "detail": check()}
    except NotReady as reason:
        return {"status": "unavailable", "detail": str(reason)}
    except Exception as error:
        # Whatever it is, the answer is "not ready"; the log has the rest.
        logger.warning("Readiness check %s failed: %s", name, error)
        return {"status": "unavailable", "detail": f"does not answer ({type(error).__name__})"}
