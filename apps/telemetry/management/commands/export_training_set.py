"""`manage.py export_training_set`: many series, resampled to the same steps, as one Parquet file."""

from datetime import timedelta
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from apps.telemetry import queries
from apps.telemetry.aggregates.gaps import Fill
from apps.telemetry.aggregates.statements import FUNCTIONS
from apps.telemetry.intervals import micros_of
from apps.telemetry.management.commands.export_telemetry import moment
from apps.telemetry.matrix.files import write_training_set
from apps.telemetry.matrix.windows import Resampling, numeric


class Command(BaseCommand):
    help = "Writes a Parquet file with a column of times and one for each series (serial number, dot, metric)."

    def add_arguments(self, parser):
        parser.add_argument("file", type=Path)
        parser.add_argument("--start", required=True, help="ISO 8601 with an offset.")
        parser.add_argument("--end", required=True, help="The first moment that is not exported.")
        parser.add_argument("--step", default="1 minute", help="An interval, such as 10 seconds (%(default)s).")
        parser.add_argument("--function", choices=FUNCTIONS, default="avg", help="Of a step's readings (%(default)s).")
        parser.add_argument(
            "--fill", choices=["none", "previous", "linear"], default="none", help="Of steps without any."
        )
        parser.add_argument("--device", action="append", default=[], help="Id or serial number; repeat for several.")
        parser.add_argument("--metric", action="append", default=[], help="Repeat for several.")

    def handle(self, *, file: Path, start: str, end: str, step: str, device: list, metric: list, **options):
        series, left_out = numeric(queries.every_series(devices=device, metrics=metric))
        if not series:
            raise CommandError("There are no such series of numbers.")
        asked = Resampling(
            start=moment(start),
            end=moment(end),
            step=timedelta(microseconds=micros_of(step)),
            function=options["function"],
            fill=Fill(options["fill"]),
        )
        if asked.start >= asked.end or asked.step <= timedelta():
            raise CommandError("The end has to be after the start, and a step longer than nothing.")
        partial = file.with_name(f"{file.name}.part")
        with partial.open("wb") as sink:
            steps = write_training_set(sink, series, asked, on_steps=lambda done: self._tell(done, asked.count))
        partial.rename(file)
        self.stdout.write(f"{steps:,} steps of {len(series):,} series are in {file}.")
        if left_out:
            self.stdout.write(f"{len(left_out):,} series of texts are left out.")

    def _tell(self, done: int, count: int) -> None:
        if self.stdout.isatty():
            filled = 30 * done // count
            self.stdout.write(f"\r{'█' * filled}{'░' * (30 - filled)} {done:,} of {count:,} steps ", ending="")
            self.stdout.write("", ending="\n" if done == count else "")
            self.stdout.flush()
