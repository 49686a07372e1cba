"""`manage.py restore_archive`: archived readings back into the database."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from apps.telemetry.archive import parquet, restore
from apps.telemetry.management.progress import Bar


class Command(BaseCommand):
    help = (
        "Reads archived readings back: the files named, or all in ARCHIVE_DIR. Into telemetry, from where the next "
        "run of retention takes them again unless TELEMETRY_RETENTION is longer by then; with --aside into the table "
        "telemetry_restored, where they stay until it is dropped."
    )

    def add_arguments(self, parser):
        parser.add_argument("files", nargs="*", type=Path)
        parser.add_argument("--aside", action="store_true", help="Into the table telemetry_restored.")
        parser.add_argument("--list", action="store_true", help="Only name the files of ARCHIVE_DIR.")

    def handle(self, *, files: list[Path], aside: bool, list: bool, **options):
        files = files or parquet.files(settings.TELEMETRY["ARCHIVE_DIR"])
        if not files:
            raise CommandError(f"There is no archive in {settings.TELEMETRY['ARCHIVE_DIR']}.")
        for file in files:
            if list:
                self.stdout.write(str(file))
                continue
            try:
                total, new = restore.restore(connection, file, aside=aside, on_progress=Bar(self.stdout, file.name))
            except restore.NotAnArchive as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{file.name}: {total:,} readings, {new:,} of them were not there.")
