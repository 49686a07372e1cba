"""`manage.py export_telemetry`: readings into a file, as many as there are."""

import time
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from apps.telemetry import queries
from apps.telemetry.export.copying import export
from apps.telemetry.export.forms import Form, Order
from apps.telemetry.reads.filters import ReadingFilter


class Command(BaseCommand):
    help = "Writes readings to a file as CSV, NDJSON or Parquet, sorted by serial number, metric and time."

    def add_arguments(self, parser):
        parser.add_argument("file", type=Path, help="Where to; its ending tells the form: .csv .ndjson .parquet [.gz]")
        parser.add_argument("--format", choices=[form.value for form in Form], help="If the ending doesn't tell.")
        parser.add_argument("--gzip", action="store_true", help="Compress, also without .gz at the end.")
        parser.add_argument("--device", action="append", default=[], help="Id or serial number; repeat for several.")
        parser.add_argument("--metric", action="append", default=[], help="Repeat for several.")
        parser.add_argument("--start", help="ISO 8601 with an offset.")
        parser.add_argument("--end", help="The first moment that is not exported.")

    def handle(self, *, file: Path, device: list, metric: list, start, end, **options):
        series = queries.every_series(devices=device, metrics=metric)
        if not series:
            raise CommandError("There are no such series.")
        gzip = options["gzip"] or file.suffix == ".gz"
        order = Order(series, ReadingFilter(start=moment(start), end=moment(end)), form_of(file, options["format"]))
        begin, partial = time.monotonic(), file.with_name(f"{file.name}.part")
        with partial.open("wb") as sink:
            rows = export(order, sink, gzip=gzip, on_rows=lambda count: self._tell(count, sink.tell(), begin))
        partial.rename(file)
        self._tell(rows, file.stat().st_size, begin)
        self.stdout.write(f"\n{rows:,} readings of {len(series):,} series are in {file}.")

    def _tell(self, rows: int, size: int, begin: float) -> None:
        if self.stdout.isatty():
            seconds = time.monotonic() - begin
            text = f"\r{rows:>13,} readings  {size / 1e6:>9,.1f} MB  {rows / max(seconds, 0.001):>11,.0f} readings/s"
            self.stdout.write(text, ending="")
            self.stdout.flush()


def form_of(file: Path, named: str | None) -> Form:
    ending = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    try:
        return Form(named or ending.removeprefix("."))
    except ValueError:
        raise CommandError("Which form? End the file's name in .csv, .ndjson or .parquet, or give --format.") from None


def moment(text: str | None):
    if text is None:
        return None
    found = parse_datetime(text)
    if found is None or found.tzinfo is None:
        raise CommandError(f"{text} is no time with an offset, such as 2026-11-20T10:00:00Z.")
    return found
