"""How fast rules are judged. Run by hand, on a database of its own that is dropped afterwards:

    python benchmarks/rules.py [--json] [--rate 20000] [machine] [worker] [many] [dispatch] [backtest] [latency]

machine   the pure state machine, samples of threshold rules in memory
worker    outbox → states and events, 1,000 series, one threshold rule each, one worker: a backlog, and small passes
many      the same with 10,000 rules on 1,000 devices
dispatch  a small batch, beside 10 and beside 9,910 rules that don't concern it
backtest  a month of 10-second readings of one series
latency   from commit to commit in a hub with servers of its own, at `rate` watched readings/s (see rule_latency.py)
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")

import django
import rule_latency

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test.utils import setup_databases, teardown_databases

from apps.devices.models import Device, DeviceMetric, DeviceType, Metric
from apps.rules import backtest, judging, machine
from apps.rules.evaluation import evaluate_once
from apps.rules.models import Rule, RuleState
from apps.rules.terms import terms_of
from apps.telemetry.ingest import store
from apps.telemetry.models import WatchedBatch
from apps.users.models import User

SECOND = 1_000_000
START = 1_790_000_000 * SECOND
HOT = {"type": "threshold", "operator": "gt", "threshold": 80, "clear_threshold": 75, "for": "30s"}
DEVICES = 1000


@dataclass(frozen=True, order=True)
class Took:
    """On the wall's clock, and of this process' time on a core: the two differ where the machine has other work."""

    seconds: float
    cpu: float


def total(parts: list[Took]) -> Took:
    return Took(sum(part.seconds for part in parts), sum(part.cpu for part in parts))


class Watch:
    def __init__(self):
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> Took:
        wall, cpu = self._began
        return Took(time.perf_counter() - wall, time.process_time() - cpu)


def value(place: int, series: int) -> float:
    """Over the threshold 40 samples in 1,000, at other times for each series."""
    return 85.0 if (place + series * 37) % 1000 < 40 else 60.0 + place % 7


def bench_machine() -> list[dict]:
    samples = [(START + place * SECOND, value(place, 0)) for place in range(1_000_000)]
    rule = Rule(condition=HOT, cooldown_minutes=1)
    watch = Watch()
    transitions, _ = machine.feed(machine.State(), terms_of(rule), samples)
    took = watch.stop()
    return [row("machine, threshold", len(samples), took, f"{len(transitions)} transitions")]


class Fleet:
    def __init__(self):
        self.owner = User.objects.create_user("bench", "bench@example.com", "x" * 20)
        self.type = DeviceType.objects.create(name="Bench", metric_name="temperature", metric_unit="°C")
        self.metric = Metric.objects.create(name="temperature")
        fields = {"owner": self.owner, "device_type": self.type}
        devices = [Device(serial_number=f"B-{place}", name=f"B {place}", **fields) for place in range(DEVICES)]
        self.devices = Device.objects.bulk_create(devices)
        bindings = [DeviceMetric(device=one, metric=self.metric, is_watched=True) for one in self.devices]
        self.series = DeviceMetric.objects.bulk_create(bindings)
        self.clock = 0

    def add_rules(self, per_device: int, devices=None, first: int = 0) -> None:
        rules = [
            Rule(
                name=f"Hot {place}",
                owner=self.owner,
                device=one,
                metric=self.metric,
                condition=HOT | {"threshold": 80 + first + place},
                cooldown_minutes=1,
            )
            for one in devices or self.devices
            for place in range(per_device)
        ]
        Rule.objects.bulk_create(rules, batch_size=2000)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def forget_rules(self) -> None:
        Rule.objects.all().delete()
        RuleState.objects.all().delete()

    def readings_come_in(self, batches: int, per_series: int, series: list[DeviceMetric] | None = None) -> int:
        """As a writer commits them: each batch has `per_series` readings of every series."""
        series = series or self.series
        for _ in range(batches):
            rows = []
            for one in series:
                shard = WatchedBatch.shard_of(one.device_id)
                for place in range(self.clock, self.clock + per_series):
                    rows.append((shard, one.pk, START + place * SECOND, value(place, one.pk)))
            self.clock += per_series
            with connection.cursor() as cursor:
                store.add_watched(cursor.cursor, rows)
        return batches * per_series * len(series)


def judge_all() -> Took:
    watch = Watch()
    while evaluate_once(now=datetime.now(UTC)):
        pass
    return watch.stop()


def bench_worker(fleet: Fleet) -> list[dict]:
    fleet.add_rules(1)
    fleet.readings_come_in(1, 1)
    judge_all()
    backlog = fleet.readings_come_in(20, 20)
    rows = [row("worker, 1,000 rules: a backlog, 400 readings of each series", backlog, judge_all())]
    steady = [(fleet.readings_come_in(1, 2), judge_all()) for _ in range(20)]
    what = "worker, 1,000 rules: 20 passes of 2 readings of each series"
    return [*rows, row(what, sum(readings for readings, _ in steady), total([took for _, took in steady]))]


def bench_many(fleet: Fleet) -> list[dict]:
    fleet.forget_rules()
    fleet.add_rules(10)
    fleet.readings_come_in(1, 1)
    judge_all()
    readings = fleet.readings_come_in(1, 20)
    took = judge_all()
    note = f"{readings * 10 / took.seconds:,.0f} judgements/s"
    return [row("worker, 10,000 rules on 1,000 devices", readings, took, note)]


def bench_dispatch(fleet: Fleet) -> list[dict]:
    """Readings of ten devices, each with a rule. The other rules are those of devices that say nothing."""
    fleet.forget_rules()
    concerned, rows = 10, []
    fleet.add_rules(1, fleet.devices[:concerned])
    for per_device, strangers in ((1, fleet.devices[-10:]), (10, fleet.devices[concerned:])):
        fleet.add_rules(per_device, strangers)
        others = Rule.objects.count() - concerned
        rows.append(dispatch(fleet, concerned, f"a batch of {concerned} devices beside {others:,} rules of others"))
    rows[1]["note"] += f", {rows[1]['seconds'] / rows[0]['seconds']:.2f} of that beside 10"
    return rows


def dispatch(fleet: Fleet, devices: int, what: str) -> dict:
    took = []
    for _ in range(60):
        readings = fleet.readings_come_in(1, 1, fleet.series[:devices])
        took.append(judge_all())
    return row(f"worker, {what}", readings, sorted(took[10:])[25], "median of 50")


def bench_backtest(fleet: Fleet) -> list[dict]:
    series, count = fleet.series[0], 30 * 8640
    start = datetime(2026, 9, 1, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO telemetry (device_metric_id, ts, value_numeric)
            SELECT %s, %s + n * interval '10 seconds', CASE WHEN n %% 1000 < 40 THEN 85 ELSE 60 + n %% 7 END
            FROM generate_series(0, %s) AS n
            """,
            [series.pk, start, count - 1],
        )
    rows = []
    conditions = {
        "threshold": HOT,
        "aggregate": HOT | {"type": "aggregate", "function": "avg", "window": "15m", "threshold": 65},
        "no_data": {"type": "no_data"},
    }
    conditions["aggregate"].pop("clear_threshold")
    for kind, condition in conditions.items():
        rule = Rule(device=series.device, owner=fleet.owner, metric=fleet.metric, condition=condition)
        watch = Watch()
        done = backtest.run(rule=rule, start=start, end=start + timedelta(days=30), now=datetime.now(UTC))
        took = watch.stop()
        rows.append(row(f"backtest of a month, {kind}", done.readings, took, f"{done.openings} openings"))
    return rows


def row(what: str, readings: int, took: Took, note: str = "") -> dict:
    rates = {"per_second": round(readings / took.seconds), "per_core_second": round(readings / took.cpu)}
    return {"what": what, "readings": readings, "seconds": round(took.seconds, 4)} | rates | {"note": note}


BENCHES = {"worker": bench_worker, "many": bench_many, "dispatch": bench_dispatch, "backtest": bench_backtest}
PARTS = ["machine", *BENCHES, "latency"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rate", type=float, default=20_000, help="watched readings a second, for latency (20,000)")
    parser.add_argument("--seconds", type=float, default=20, help="how long, for latency (20)")
    parser.add_argument("which", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if unknown := set(asked.which) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    rows = bench_machine() if "machine" in asked.which else []
    if chosen := [name for name in BENCHES if name in asked.which]:
        rows += in_a_database(chosen)
    if "latency" in asked.which:
        rows.append(rule_latency.measure(asked.rate, asked.seconds))
    tell(rows, as_json=asked.json)


def in_a_database(chosen: list[str]) -> list[dict]:
    databases = setup_databases(verbosity=0, interactive=False, aliases=["default"])
    try:
        call_command("setup_timescaledb", verbosity=0)
        fleet, rows = Fleet(), []
        for name in chosen:
            judging.book().forget()
            rows += BENCHES[name](fleet)
        return rows
    finally:
        teardown_databases(databases, verbosity=0)


def tell(rows: list[dict], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<62}{'readings':>10}{'seconds':>9}{'readings/s':>12}{'per core s':>12}")
    for one in rows:
        print(
            f"{one['what']:<62}{one['readings']:>10,}{one['seconds']:>9.4f}{one['per_second']:>12,}"
            f"{one['per_core_second']:>12,}  {one['note']}"
        )


if __name__ == "__main__":
    main()
