"""From a reading's commit to its event's commit, in a hub as it is run: web, workers and beat, nudged through Redis.

Every series of 500 devices is watched. Gateways send what their devices measure at a steady rate; of each thousand
readings one crosses the threshold, and the next of its series comes back. PostgreSQL notes when each transaction
committed (`track_commit_timestamp`), a trigger of the benchmark's which transaction opened or resolved an event. Both
times are taken just before the commit reaches the disk. Every crossing has to be found, or there is no figure.
"""

import json
import random
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path

from hub import Hub, Usage, bare_environment
from messages import DEVICES, METRICS, SERIES, serial_number
from senders import Connection
from services import Database, Services
from target import Failure, Meter, Target

GATEWAYS = 4
QUIET, HOT = 50.0, 90.0
ONE_IN = 1000
WARM_UP = 3.0

_NOTES = """
    CREATE TABLE bench_notes (series integer, ts timestamptz, xid xid8 DEFAULT pg_current_xact_id());
    CREATE FUNCTION bench_note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO bench_notes (series, ts)
        SELECT NEW.device_metric_id, coalesce((NEW.metadata ->> 'cleared')::timestamptz, NEW.reading_ts);
        RETURN NULL;
    END $$;
    CREATE TRIGGER bench_opened AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION bench_note();
    CREATE TRIGGER bench_resolved AFTER UPDATE OF status ON events FOR EACH ROW EXECUTE FUNCTION bench_note();
"""
_TOOK = """
    SELECT coalesce(array_agg(took ORDER BY took), '{}')
    FROM bench_notes AS note
    JOIN telemetry AS reading ON reading.device_metric_id = note.series AND reading.ts = note.ts,
    LATERAL (SELECT pg_xact_commit_timestamp(note.xid::xid) - pg_xact_commit_timestamp(reading.xmin)) AS apart (span),
    LATERAL (SELECT extract(epoch FROM span)::float) AS seconds (took)
    WHERE note.ts >= %s
"""


@dataclass
class Sent:
    """What gateways did: readings acknowledged, and crossings (there and back) among them."""

    readings: int = 0
    crossings: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """`tick` is the pause between the messages of a device; what is taken before `counted_from` (ms) is warm-up."""

    tick: float
    counted_from: int
    until: float


class Gateway(threading.Thread):
    """Sends a message of each of its devices at every tick. Where it falls behind it doesn't wait."""

    def __init__(self, target: Target, devices: list[int], plan: Plan, first: float):
        super().__init__(daemon=True)
        self._target, self._devices, self._plan, self._first = target, devices, plan, first
        self._chance = random.Random(devices[0])
        self._hot: set[tuple[int, str]] = set()
        self.warm_up, self.counted = Sent(), Sent()

    def run(self) -> None:
        due = self._first
        with closing(Connection(self._target.port)) as connection:
            while due < self._plan.until:
                time.sleep(max(0.0, due - time.time()))
                self._send(connection)
                due += self._plan.tick

    def _send(self, connection: Connection) -> None:
        at, before = time.time_ns() // 1_000_000, self._hot
        self._hot = set()
        body = json.dumps([self._message(device, at, before) for device in self._devices]).encode()
        head = f"{self._target.head}Content-Length: {len(body)}\r\n\r\n".encode()
        status, answer = connection.post(head + body)
        sent = self.counted if at >= self._plan.counted_from else self.warm_up
        if status == 201:
            sent.readings += json.loads(answer)["accepted"]
            sent.crossings += len(self._hot) + len(before)
        else:
            sent.faults.append(f"{status} {answer[:200].decode(errors='replace')}")

    def _message(self, device: int, at: int, before: set) -> dict:
        values = {}
        for metric in METRICS:
            is_hot = (device, metric) not in before and self._chance.random() < 1 / ONE_IN
            if is_hot:
                self._hot.add((device, metric))
            values[metric] = HOT if is_hot else QUIET
        return {"serial_number": serial_number(device), "timestamp": at, "metrics": values}


def measure(rate: float, seconds: float) -> dict:
    """Raises Failure where a crossing was not found, or a request was refused."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iot-hub-bench-")))
        services = stack.enter_context(Services(bare_environment()))
        _keep_commit_times(services)
        hub = Hub(services.addresses, folder)
        stack.callback(hub.stop)
        key, _ = hub.prepare("--watched-every", "1", "--cooldown", "0")
        database = stack.enter_context(closing(Database(services.addresses["DATABASE_URL"])))
        database.do(_NOTES)
        hub.start(1)
        target = Target(hub.port, "/api/v1/telemetry/", "json", key, database, Usage(database, hub.cpu))
        return _run(target, database, rate, seconds)


def _keep_commit_times(services: Services) -> None:
    with closing(Database(services.addresses["DATABASE_URL"])) as database:
        database.do("ALTER SYSTEM SET track_commit_timestamp = on")
    services.restart()


def _run(target: Target, database: Database, rate: float, seconds: float) -> dict:
    begin = time.time() + WARM_UP
    plan = Plan(SERIES / rate, int(begin * 1000), begin + seconds)
    gateways = [
        Gateway(target, list(devices), plan, time.time() + plan.tick * place / GATEWAYS)
        for place, devices in enumerate(batched(range(DEVICES), DEVICES // GATEWAYS))
    ]
    for gateway in gateways:
        gateway.start()
    time.sleep(max(0.0, begin - time.time()))
    meter = Meter(target.cpu)
    for gateway in gateways:
        gateway.join()
    used, took = meter.read(), time.time() - begin
    database.wait_until_judged()
    return _result(gateways, _latencies(database, plan), rate, took, used)


def _latencies(database: Database, plan: Plan) -> list[float]:
    return database.ask(_TOOK, datetime.fromtimestamp(plan.counted_from / 1000, UTC))


def _result(gateways: list[Gateway], found: list[float], rate: float, seconds: float, used: dict[str, float]) -> dict:
    faults = [fault for gateway in gateways for sent in (gateway.warm_up, gateway.counted) for fault in sent.faults]
    crossings = sum(gateway.counted.crossings for gateway in gateways)
    if faults or len(found) != crossings or not found:
        raise Failure(f"{crossings} crossings were sent and {len(found)} found; refused: {faults[:1]}")
    readings = sum(gateway.counted.readings for gateway in gateways)
    p50, p99, worst = (round(1000 * found[min(int(len(found) * part), len(found) - 1)]) for part in (0.5, 0.99, 1))
    cpu = ", ".join(f"{name} {share:.0f} %" for name, share in used.items())
    return {
        "what": f"commit to commit, {rate:,.0f} watched readings/s asked for",
        "readings": readings,
        "seconds": round(seconds, 4),
        "per_second": round(readings / seconds),
        "per_core_second": round(100 * readings / seconds / used["worker"]),
        **{"p50_ms": p50, "p99_ms": p99, "max_ms": worst, "crossings": crossings, "cpu": used},
        "note": f"p50 {p50} ms, p99 {p99} ms, max {worst} ms of {crossings:,} events opened or resolved; CPU: {cpu}",
    }
