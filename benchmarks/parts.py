"""The parts of the benchmark, each a function that measures and yields rows of the table."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import copying
import influx
import naive_server
import senders
import singles
from hub import Hub, Usage
from messages import Timeline
from processes import get_status
from services import Database
from target import Meter, Result, Target

COPY_ROWS = (10_000, 30_000)
CONNECTIONS = (4, 32, 64)


class Skip(Exception):
    """Says why a part can't be measured here."""


@dataclass
class Bench:
    """What the parts work with."""

    database: Database
    hub: Hub
    key: str
    series: list[int]
    seconds: float
    timeline: Timeline
    patience: float = 0

    def settle(self) -> None:
        """Waits, as long as it has patience, for others to use less than 20 % of a core."""
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            meter = Meter(dict)
            time.sleep(1)
            if meter.read()["others"] < 20:
                return

    def hub_target(self, form: str = "json") -> Target:
        path = "/api/v1/telemetry/" if form == "json" else "/api/v2/write?bucket=bench&org=bench&precision=ns"
        return Target(self.hub.port, path, form, self.key, self.database, Usage(self.database, self.hub.cpu))


Part = Callable[[Bench, int], Iterator[Result]]


def copies(bench: Bench, connections: int) -> Iterator[Result]:
    bench.hub.stop()
    for rows in COPY_ROWS:
        bench.settle()
        yield copying.measure(
            bench.database,
            bench.series,
            bench.timeline,
            batch_rows=rows,
            connections=connections,
            seconds=bench.seconds,
        )


def single(bench: Bench, processes: int) -> Iterator[Result]:
    _need(singles)
    bench.hub.start(processes)
    target = bench.hub_target()
    yield _of_hub(bench, lambda: singles.measure("single", target, bench.timeline, seconds=bench.seconds))


def batches(bench: Bench, processes: int) -> Iterator[Result]:
    bench.hub.start(processes)
    yield from _batches_of_hub(bench, "batches", bench.hub_target())


def lines(bench: Bench, processes: int) -> Iterator[Result]:
    bench.hub.start(processes)
    target = bench.hub_target("lines")
    if get_status(bench.hub.port, target.path) == 404:
        raise Skip("the hub does not take line protocol yet")
    yield from _batches_of_hub(bench, "lines", target)


def naive(bench: Bench, processes: int) -> Iterator[Result]:
    _need(naive_server)
    bench.hub.stop()
    for workers, threads in naive_server.CONFIGURATIONS:
        with (
            tempfile.TemporaryDirectory(prefix="iot-hub-bench-") as folder,
            naive_server.NaiveServer(bench.hub, Path(folder), processes=workers, threads=threads) as server,
        ):
            cpu = Usage(bench.database, server.cpu)
            target = Target(server.port, server.path, "json", bench.key, bench.database, cpu)
            for result in _each_way(bench, "naive", target):
                result.processes, result.note = workers, f"{threads} threads; {result.note}".rstrip("; ")
                yield result


def influxdb(bench: Bench, processes: int) -> Iterator[Result]:
    _need(influx)
    bench.hub.stop()
    with (
        tempfile.TemporaryDirectory(prefix="iot-hub-bench-") as folder,
        influx.Influx(Path(folder)) as server,
    ):
        target = Target(server.port, server.path, "lines", "none", server, server.cpu)
        yield from _each_way(bench, "influx", target, (*CONNECTIONS,))


# Parts of the hub are measured with each number of web processes asked for, the others once.
OF_HUB: dict[str, Part] = {"single": single, "batches": batches, "lines": lines}
OTHERS: dict[str, Part] = {
    "copy-1": lambda bench, _: copies(bench, 1),
    "copy-2": lambda bench, _: copies(bench, 2),
    "naive": naive,
    "influx": influxdb,
}
NAMES = ("copy-1", "copy-2", *OF_HUB, "naive", "influx")


def _each_way(bench: Bench, name: str, target: Target, connections: tuple[int, ...] = CONNECTIONS[:1]):
    if singles.is_there():
        bench.settle()
        yield singles.measure(f"{name} single", target, bench.timeline, seconds=bench.seconds)
    for number in connections:
        bench.settle()
        yield senders.measure(f"{name} batches", target, bench.timeline, connections=number, seconds=bench.seconds)


def _batches_of_hub(bench: Bench, name: str, target: Target) -> Iterator[Result]:
    for connections in CONNECTIONS:
        yield _of_hub(
            bench,
            lambda connections=connections: senders.measure(
                name, target, bench.timeline, connections=connections, seconds=bench.seconds
            ),
        )


def _of_hub(bench: Bench, measure: Callable[[], Result]) -> Result:
    """With what only the hub has: memory of the web processes, and rules that may lag behind."""
    bench.settle()
    before = bench.hub.web_memory()
    result = measure()
    result.not_judged = bench.database.not_judged()
    result.processes = bench.hub.web_processes
    result.memory_before, result.memory_after = before, bench.hub.web_memory()
    bench.database.wait_until_judged()
    return result


def _need(program) -> None:
    if not program.is_there():
        raise Skip(program.MISSING)
