"""How much memory exports take, and how long: by `manage.py export_telemetry`, and over HTTP from a real web process.

.venv/bin/python benchmarks/exports.py                       20 million readings, about six minutes
.venv/bin/python benchmarks/exports.py --readings 1000000 --form csv
.venv/bin/python benchmarks/exports.py --here                on DATABASE_URL and REDIS_URL, filled once and kept

Each export is by a process of its own, whose peak is what the kernel says (VmHWM, with libraries); all that came is
counted. "at first" is the web process before it was asked for anything, "encoder" the process that makes Parquet.
"""

import argparse
import gzip
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import query_store
from hub import bare_environment
from processes import ROOT, Process, family, free_port, wait_for_http
from progress import Progress

FORMS = ("csv", "csv.gz", "ndjson", "parquet")
MOST_MB = 150
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    way: str
    form: str
    seconds: float
    file_mb: float
    first_mb: float | None
    peak_mb: float
    encoder_mb: float


def main() -> None:
    options = _options()
    opened = query_store.opened(count=options.series, readings=options.readings, here=options.here, with_influx=False)
    with opened as store, tempfile.TemporaryDirectory(prefix="iot-hub-bench-") as folder:
        about = machine.describe(store.database)
        for name, value in about.items():
            print(f"  {name:<14} {value}")
        total, figures = store.year.readings, []
        for form in options.form or FORMS:
            for way, measure in (("command", _by_command), ("HTTP", _over_http)):
                with Progress().part(f"{form} by {way}") as tell_part:
                    figures.append(measure(form, total, Path(folder)))
                    tell_part(f"peak {figures[-1].peak_mb:.0f} MB")
    tell(total, figures)
    if options.json:
        options.json.write_text(
            json.dumps({"machine": about, "readings": total, "figures": list(map(asdict, figures))})
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=20_000_000, help="how many (20 million)")
    parser.add_argument("--series", type=int, default=100, help="of how many series (100)")
    parser.add_argument("--form", choices=FORMS, action="append", help="only this one; repeat for several")
    parser.add_argument("--here", action="store_true", help="on the servers of DATABASE_URL and REDIS_URL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser.parse_args()


def _by_command(form: str, total: int, folder: Path) -> Figure:
    file, begin = folder / f"readings.{form}", time.monotonic()
    command = [sys.executable, "manage.py", "export_telemetry", file]
    process = Process(command, environment=_environment(), log=folder / "command.log")
    with Peaks(process.pid) as peaks:
        while not process.has_ended:
            time.sleep(0.05)
    if not file.exists():
        raise SystemExit(process.last_lines())
    seconds = time.monotonic() - begin
    return _figure("command", form, file, total, seconds=seconds, first_mb=None, **peaks.told(process.pid))


def _over_http(form: str, total: int, folder: Path) -> Figure:
    port, file = free_port(), folder / f"readings.{form}"
    environment = _environment() | {"PORT": str(port), "HOST": "127.0.0.1", "PREPARE_ON_START": "false"}
    process = Process([ROOT / "entrypoint.sh", "web"], environment=environment, log=folder / "web.log")
    try:
        wait_for_http(process, port, "/healthz")
        web = process.pid
        first, begin = peak_mb(web), time.monotonic()
        with Peaks(web) as peaks, file.open("wb") as sink:
            for block in _blocks(port, form):
                sink.write(block)
        seconds = time.monotonic() - begin
    finally:
        process.stop()
    return _figure("HTTP", form, file, total, seconds=seconds, first_mb=first, **peaks.told(web))


class Peaks:
    """A context: how much memory the process and its children have had at most."""

    def __init__(self, pid: int):
        self._pid, self._over = pid, threading.Event()
        self._found: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peaks":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def told(self, main: int) -> dict[str, float]:
        others = [peak for pid, peak in self._found.items() if pid != main]
        return {"peak_mb": self._found[main], "encoder_mb": max(others, default=0)}

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for pid in family(self._pid):
                self._found[pid] = max(peak_mb(pid), self._found.get(pid, 0))


def _blocks(port: int, form: str) -> Iterator[bytes]:
    name, _, gzipped = form.partition(".")
    query = f"format={name}&compression={'gzip' if gzipped else 'none'}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", f"/api/v1/telemetry/export/?{query}", headers={"Authorization": _authorization()})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"The export is answered {answer.status}: {answer.read()[:500]}")
        while block := answer.read(BLOCK):
            yield block


def _authorization() -> str:
    from rest_framework_simplejwt.tokens import AccessToken

    from apps.users.models import User

    return f"Bearer {AccessToken.for_user(User.objects.get())}"


def _environment() -> dict[str, str]:
    names = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY")
    return bare_environment() | {name: os.environ[name] for name in names}


def peak_mb(pid: int) -> float:
    """0 of one that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


def _figure(way: str, form: str, file: Path, total: int, **measured: float | None) -> Figure:
    found, size = _readings_in(file, form), file.stat().st_size / 1e6
    file.unlink()
    if found != total:
        raise SystemExit(f"{way}, {form}: {found:,} readings came of {total:,}.")
    return Figure(way, form, file_mb=size, **measured)


def _readings_in(file: Path, form: str) -> int:
    if form == "parquet":
        from pyarrow.parquet import ParquetFile

        return ParquetFile(file).metadata.num_rows
    with gzip.open(file) if form.endswith(".gz") else file.open("rb") as rows:
        lines = sum(block.count(b"\n") for block in iter(lambda: rows.read(BLOCK), b""))
    return lines - form.startswith("csv")


def tell(total: int, figures: list[Figure]) -> None:
    print(f"\n{total:,} readings")
    print(_line("", "form", "readings/s", "file MB", "at first MB", "peak MB", "encoder MB"))
    for one in figures:
        first = f"{one.first_mb:.0f}" if one.first_mb else "–"
        memory = (first, f"{one.peak_mb:.0f}", f"{one.encoder_mb:.0f}" if one.encoder_mb else "–")
        print(_line(one.way, one.form, f"{total / one.seconds:,.0f}", f"{one.file_mb:,.0f}", *memory))
    for one in figures:
        if max(one.peak_mb, one.encoder_mb) > MOST_MB:
            print(f"Missed: {one.form} by {one.way} in {MOST_MB} MB.")


def _line(way: str, form: str, rate: str, size: str, first: str, peak: str, encoder: str) -> str:
    return f"{way:<8} {form:<8} {rate:>11} {size:>8} {first:>12} {peak:>8} {encoder:>11}"


if __name__ == "__main__":
    main()
