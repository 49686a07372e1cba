"""Four workers judge the same outbox and are killed at random; what is in the end is what one would have computed."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from django.db import connection

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.events.models import Event
from apps.rules import machine
from apps.rules.machine import Change
from apps.rules.models import Rule, RuleState
from apps.rules.terms import terms_of, to_datetime
from apps.rules.tests.factories import RuleFactory
from apps.telemetry.ingest import store
from apps.telemetry.models import WatchedBatch
from tests.processes import ROOT, database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

DEVICES, BATCHES, SAMPLES, WORKERS, KILLS = 12, 240, 5, 4, 10
SECOND = 1_000_000
START = 1_795_000_000 * SECOND
CONDITIONS = [
    {"type": "threshold", "operator": "gt", "threshold": 80, "clear_threshold": 70, "for": "10s"},
    {"type": "aggregate", "function": "avg", "window": "1m", "operator": "gt", "threshold": 76},
]
# One batch a pass, and always so much left that others take their share: so there is somebody to kill in the middle.
WORKER = """
import django; django.setup()
from django.utils import timezone
from apps.rules import evaluation
from apps.telemetry.models import WatchedBatch
evaluation.BYTES_AT_ONCE = 1
print("ready", flush=True)
while WatchedBatch.objects.filter(error="").exists():
    evaluation.evaluate_once(now=timezone.now())
"""


@pytest.fixture
def rules(device):
    metric = MetricFactory(name="temperature")
    return [
        RuleFactory(device=None, owner=None, device_type=device.device_type, metric=metric, condition=condition)
        for condition in CONDITIONS
    ]


@pytest.fixture
def series(rules, device):
    devices = [DeviceFactory(device_type=device.device_type) for _ in range(DEVICES)]
    return [DeviceMetricFactory(device=one, metric=rules[0].metric) for one in devices]


def batches(series) -> list[list[tuple]]:
    """Some readings come late, as they do."""
    chance, made = random.Random(5), []
    for batch in range(BATCHES):
        rows = []
        for one in series:
            for place in range(SAMPLES):
                ts = START + (batch * SAMPLES + place) * 5 * SECOND - chance.choice((0, 0, 0, 0, 40)) * SECOND
                level = 85.0 if (batch // 8 + one.pk) % 2 else 65.0
                rows.append((WatchedBatch.shard_of(one.device_id), one.pk, ts, level + chance.choice((-8, 0, 8))))
        made.append(rows)
    return made


def expected(rules: list[Rule], made: list[list[tuple]]) -> set[tuple]:
    """(rule, series, opened, cleared) as one plain loop finds them."""
    found = set()
    for rule in rules:
        terms, states, opened = terms_of(rule), {}, {}
        for rows in made:
            for _, one, ts, value in sorted(rows, key=lambda row: row[2]):
                state = states.setdefault(one, machine.State())
                for transition in machine.feed(state, terms, [(ts, value)])[0]:
                    if transition.change is Change.OPENED:
                        opened[one] = transition.ts
                    else:
                        found.add((rule.pk, one, to_datetime(opened.pop(one)), to_datetime(transition.ts).isoformat()))
        found |= {(rule.pk, one, to_datetime(ts), None) for one, ts in opened.items()}
    return found


def start_worker() -> subprocess.Popen:
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "iot_hub.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_workers_killed_at_random_leave_what_one_would_have_computed(rules, series):
    made = batches(series)
    with connection.cursor() as cursor:
        for rows in made:
            cursor.execute(store.adding_watched(cursor.cursor, list(rows)))
    killed = judge_and_kill()

    events = Event.objects.exclude(metadata__has_key="retroactive")
    seen = [(event.rule_id, event.device_metric_id, event.timestamp, event.metadata.get("cleared")) for event in events]
    assert killed > 2, "the work was done before there was anybody to kill"
    assert len(seen) == len(set(seen))
    assert set(seen) == expected(rules, made)
    assert len(seen) > 100
    assert sum(RuleState.objects.values_list("openings", flat=True)) == len(seen)


def judge_and_kill() -> int:
    chance, killed, deadline = random.Random(), 0, time.monotonic() + 120
    workers = [start_worker() for _ in range(WORKERS)]
    try:
        while WatchedBatch.objects.exists() and time.monotonic() < deadline:
            if killed < KILLS:
                victim = chance.randrange(WORKERS)
                workers[victim].stdout.readline()  # it is at work
                time.sleep(chance.uniform(0, 0.1))
                end(workers[victim])
                killed += 1
                workers[victim] = start_worker()
            else:
                time.sleep(0.1)
    finally:
        for worker in workers:
            end(worker)
    return killed


def end(worker: subprocess.Popen) -> None:
    if worker.poll() is None:
        os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
