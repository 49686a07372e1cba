"""How fast the hub takes readings, beside raw COPY, the naive way and InfluxDB: every pair in one run on one machine.

.venv/bin/python benchmarks/ingest.py                             all parts, about six minutes
.venv/bin/python benchmarks/ingest.py --seconds 3 --only copy-1,batches
.venv/bin/python benchmarks/ingest.py --only "" --soak 50         50 million readings through one web process

It brings a database and a Redis of its own, as durable as a hub's, and deletes them at the end, also after Ctrl-C.
It ends with 1 where a table did not hold what was acknowledged, or anything was refused.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import machine
import parts
import report
import soak
from hub import Hub, bare_environment
from messages import Timeline
from parts import Bench
from progress import Progress
from services import Database, Services
from target import Failure, Result

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    options = read_options()
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    progress = Progress()
    results, legs, failures = [], [], []
    try:
        with ExitStack() as stack:
            bench, about = set_up(stack, options, progress)
            for number in range(options.rounds):
                results += run_round(bench, options, progress, failures, number)
            if options.soak:
                legs = soak.run(bench, options.soak, lambda leg: progress.say(f"  soak {leg}"))
    except KeyboardInterrupt:
        print("\nStopped; everything is cleaned up.", file=sys.stderr)
        return 130
    return tell(options, about, results, legs, failures)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="how long each rate is measured (10)")
    parser.add_argument("--only", metavar="PART,…", help=f"some of: {', '.join(parts.NAMES)}")
    parser.add_argument("--workers", type=int, default=2, help="web processes of the hub's second rows; 1: none (2)")
    parser.add_argument("--rounds", type=int, default=1, help="repeat all parts, and show the middle of each (1)")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait before each for a quiet machine (0)")
    parser.add_argument("--soak", type=float, metavar="MILLIONS", help="so many million readings through one process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    options = parser.parse_args()
    options.only = parts.NAMES if options.only is None else [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - set(parts.NAMES):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not 1 <= options.seconds <= 600 or not 1 <= options.workers <= 16 or not 1 <= options.rounds <= 20:
        parser.error("--seconds is 1 to 600, --workers 1 to 16, --rounds 1 to 20")
    return options


def set_up(stack: ExitStack, options: argparse.Namespace, progress: Progress) -> tuple[Bench, dict[str, str]]:
    with progress.part("setting up"):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iot-hub-bench-")))
        services = stack.enter_context(Services(bare_environment()))
        hub = Hub(services.addresses, folder)
        stack.callback(hub.stop)
        key, series = hub.prepare()
        database = Database(services.addresses["DATABASE_URL"])
        stack.callback(database.close)
    about = machine.describe(database)
    for name, value in about.items():
        progress.say(f"  {name:<14} {value}")
    return Bench(database, hub, key, series, options.seconds, Timeline(), options.patience), about


def run_round(
    bench: Bench, options: argparse.Namespace, progress: Progress, failures: list[str], number: int
) -> Iterator[Result]:
    for label, measure in plan(options):
        name = label if options.rounds == 1 else f"{label}, round {number + 1}"
        with progress.part(name) as told:
            try:
                for result in measure(bench):
                    told(f"{result.values:,.0f} values/s")
                    if result.failed:
                        failures.append(f"{label}: {result.failed} requests failed. {result.note}")
                    yield result
            except parts.Skip as why:
                told(f"left out: {why}")
            except Failure as failure:
                failures.append(str(failure))
                told(str(failure))


def plan(options: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """COPY first, then the hub with each number of processes, then what it is compared with."""
    chosen = [name for name in parts.OTHERS if name in options.only]
    for name in (name for name in chosen if name.startswith("copy")):
        yield name, lambda bench, name=name: parts.OTHERS[name](bench, 1)
    for processes in sorted({1, options.workers}):
        for name in (name for name in parts.OF_HUB if name in options.only):
            label = f"{name}, {processes} web process" + ("es" if processes > 1 else "")
            yield label, lambda bench, name=name, processes=processes: parts.OF_HUB[name](bench, processes)
    for name in (name for name in chosen if not name.startswith("copy")):
        yield name, lambda bench, name=name: parts.OTHERS[name](bench, 1)


def tell(options, about: dict[str, str], results: list[Result], legs: list[soak.Leg], failures: list[str]) -> int:
    shown = report.middle_of_rounds(results)
    ratios = report.ratios(shown)
    if shown:
        print(f"\n{report.table(shown)}\n\n{report.ratio_table(ratios)}")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if options.json:
        content = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": about,
            "seconds": options.seconds,
            "results": [result.as_dict() for result in results],
            "ratios": [vars(ratio) | {"is_reached": ratio.is_reached} for ratio in ratios],
            "soak": [leg.as_dict() for leg in legs],
            "failures": failures,
        }
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 1 if failures else 0


def _interrupt(*_) -> None:
    """Once: the cleaning up that follows must not be interrupted in its turn."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
