"""How long reads take, beside the same from readings alone, and beside InfluxDB 1 where it is installed.

.venv/bin/python benchmarks/queries.py                  100 series, 10 million readings, about four minutes
.venv/bin/python benchmarks/queries.py --series 1000    1,000 series, 100 million readings
.venv/bin/python benchmarks/queries.py --here           on DATABASE_URL and REDIS_URL, filled once and kept

The median of seven, the first left out. "hub" is from the call to points in Python, in a process of the hub and over
its own connection; "request" is a whole request within the web process, with authentication and JSON; InfluxDB is
asked over HTTP.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import influx
import machine
import query_influx
import query_store
from query_asks import Question, questions

TIMES = 7
LONG_ENOUGH = 20  # seconds
READINGS_OF_SERIES = 100_000
DASHBOARD_MS, DASHBOARD_TIMES_FASTER, LAST_READINGS_MS = 20, 20, 1

type Figures = dict[str, dict[str, float | None]]


def main() -> None:
    options = _options()
    compared = influx.is_there() and not options.no_influx
    with ExitStack() as stack:
        opened = query_store.opened(
            count=options.series, readings=options.readings, here=options.here, with_influx=compared
        )
        store = stack.enter_context(opened)
        about = machine.describe(store.database)
        for name, value in about.items():
            print(f"  {name:<14} {value}")
        asked = questions(store)
        figures = _measure(asked)
        executed = _milliseconds_in_database(store)
        if compared:
            _compare(stack, store, asked, figures)
    tell(options, about, asked, figures, executed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100, help="how many series (100)")
    parser.add_argument("--readings", type=int, help=f"how many in all ({READINGS_OF_SERIES:,} for each series)")
    parser.add_argument("--here", action="store_true", help="on the servers of DATABASE_URL and REDIS_URL")
    parser.add_argument("--no-influx", action="store_true", help="leave InfluxDB out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    options = parser.parse_args()
    options.readings = options.readings or options.series * READINGS_OF_SERIES
    if options.series < 2 or options.readings < options.series * 1000:
        parser.error("--series is at least 2, --readings at least 1,000 for each")
    return options


def _measure(asked: list[Question]) -> Figures:
    """Milliseconds, by question and way of asking."""
    get = _requests()
    figures: Figures = {}
    for question in asked:
        row = figures[question.name] = {"hub": timed(question.hub)}
        if question.path is not None:
            row["request"] = timed(lambda question=question: get(question.path))
        if question.from_readings:
            row["readings alone"] = timed(question.from_readings)
        print(f"  {question.name:<40} {row}", flush=True)
    return figures


def _requests() -> Callable[[str], None]:
    from django.test import Client
    from rest_framework_simplejwt.tokens import AccessToken

    from apps.users.models import User

    client = Client(headers={"Authorization": f"Bearer {AccessToken.for_user(User.objects.get())}"})

    def get(path: str) -> None:
        answer = client.get(f"/api/v1/telemetry/{path}")
        if answer.status_code != 200:
            raise SystemExit(f"{path} is answered {answer.status_code}: {answer.content[:500]}")

    return get


def _milliseconds_in_database(store: query_store.Store) -> dict[str, float]:
    """Of the last 1,000 readings of a series, as PostgreSQL itself counts."""
    from django.db import connection

    from apps.telemetry.reads.filters import ReadingFilter
    from apps.telemetry.reads.pages import rows_query, windows

    newest = next(windows(ReadingFilter(), ascending=False, after=None, now=store.year.end))
    sql, params = rows_query(series=[store.frequent], where=newest, limit=1000, share=1000)
    plans = []
    with connection.cursor() as cursor:
        for _ in range(TIMES + 1):
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", params)
            plans.append(cursor.fetchone()[0][0])
    return {name: round(median(plan[f"{name} Time"] for plan in plans[1:]), 2) for name in ("Planning", "Execution")}


def _compare(stack: ExitStack, store: query_store.Store, asked: list[Question], figures: Figures) -> None:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iot-hub-bench-")))
    server = stack.enter_context(influx.Influx(folder))
    with store.database.connect() as connection:
        year = store.year
        query_influx.fill(server, connection, start=year.start, end=year.end, readings=year.readings)
    for question in asked:
        if question.influx:
            figures[question.name]["InfluxDB"] = timed(lambda question=question: server.ask(question.influx))


def timed(ask: Callable) -> float:
    """Milliseconds. What takes long is asked fewer times, and what takes very long only once."""
    begin = time.perf_counter()
    ask()
    taken = [time.perf_counter() - begin]
    if taken[0] < LONG_ENOUGH:
        taken.clear()
    while len(taken) < TIMES and sum(taken) < LONG_ENOUGH:
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return round(median(taken) * 1000, 2)


def tell(options, about: dict[str, str], asked: list[Question], figures: Figures, executed: dict[str, float]) -> None:
    print(f"\n{table(figures)}\n")
    of_these = f"{executed['Execution']} ms, and {executed['Planning']} ms of planning"
    print(f"The last 1,000 of a series within PostgreSQL: {of_these}.")
    misses = list(missed(asked, figures, executed))
    print("\n".join(misses or ["Every aim is reached."]))
    if options.json:
        content = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": about,
            "series": options.series,
            "readings": options.readings,
            "milliseconds": figures,
            "milliseconds within PostgreSQL": executed,
            "missed": misses,
        }
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def table(figures: Figures) -> str:
    """In Markdown, as docs/performance.md has it."""
    told = {way for row in figures.values() for way in row}
    ways = [way for way in ("hub", "request", "readings alone", "InfluxDB") if way in told]
    lines = [f"| milliseconds | {' | '.join(ways)} | times faster than readings |", "|---" * (len(ways) + 2) + "|"]
    for name, row in figures.items():
        faster = f"{row['readings alone'] / row['hub']:,.0f}" if "readings alone" in row else "–"
        lines.append(f"| {name} | {' | '.join(_cell(row.get(way)) for way in ways)} | {faster} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def missed(asked: list[Question], figures: Figures, executed: dict[str, float]):
    for question in (question for question in asked if question.is_dashboard):
        row = figures[question.name]
        if row["request"] >= DASHBOARD_MS:
            yield f"Missed: {question.name} in under {DASHBOARD_MS} ms."
        if row["readings alone"] < DASHBOARD_TIMES_FASTER * row["hub"]:
            yield f"Missed: {question.name} {DASHBOARD_TIMES_FASTER} times faster than from readings."
    if executed["Execution"] >= LAST_READINGS_MS:
        yield f"Missed: the last 1,000 of a series in under {LAST_READINGS_MS} ms within PostgreSQL."


if __name__ == "__main__":
    main()
