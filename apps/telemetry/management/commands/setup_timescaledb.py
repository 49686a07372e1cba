"""`manage.py setup_timescaledb`: makes the telemetry table a hypertable, with all that the edition offers."""

import traceback

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from apps.telemetry.timescale import setup
from apps.telemetry.timescale.edition import SetupError
from apps.telemetry.timescale.plan import EXTENSION, Step, left_out


class Command(BaseCommand):
    help = (
        "Sets TimescaleDB up: extension, hypertable and, on the Community edition, compression, retention "
        "and rollups. Safe to repeat."
    )

    def add_arguments(self, parser):
        parser.add_argument("--dry-run", action="store_true", help="Print each step's SQL and change nothing.")
        parser.add_argument(
            "--force",
            action="store_true",
            help="Apply every step again, such as after settings have changed.",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Alias of the database to set up.")

    def handle(self, *, dry_run: bool, force: bool, database: str, **options):
        self.loud = options["verbosity"] > 0
        try:
            connection = connections[database]
            if dry_run:
                self._show(setup.survey(connection, settings.TELEMETRY))
            else:
                found = setup.run(connection, settings.TELEMETRY, force=force, on_step=self._on_step)
                self._report(found, applied=force or not found.is_set_up)
        except SetupError as error:
            raise self._failed(str(error)) from error
        except Error as error:
            raise self._failed(f"The database failed: {str(error).strip()}") from error

    def _failed(self, sentence: str) -> CommandError:
        if settings.DEBUG:
            self.stderr.write(traceback.format_exc())
        return CommandError(sentence)

    def _say(self, text: str) -> None:
        if self.loud:
            self.stdout.write(text)

    def _on_step(self, step: Step) -> None:
        if step.key == EXTENSION.key:
            self._say("TimescaleDB is available but not installed in this database yet.")
        self._say(f"Setting up {step.title} …")

    def _introduce(self, found: setup.Survey) -> None:
        extension = found.extension
        if extension.installed is None:
            self._say(f"TimescaleDB {extension.available} is available but not installed in this database yet.")
        self._say(f"TimescaleDB {extension.installed or extension.available}, {found.edition.label} edition.")

    def _show(self, found: setup.Survey) -> None:
        self._introduce(found)
        for number, step in enumerate(found.steps, start=1):
            mark = "as wanted already" if found.is_done(step) else "to do"
            self.stdout.write(f"-- {number} of {len(found.steps)}: {step.title} ({mark})")
            self.stdout.write(step.clean_sql)
        self._say(left_out(found.edition))
        self._say("Dry run: nothing was changed.")

    def _report(self, found: setup.Survey, *, applied: bool) -> None:
        if applied:
            self._introduce(found)
            self._say(left_out(found.edition))
            self._say(self.style.SUCCESS("telemetry is set up."))
            return
        self._say("telemetry is a hypertable already.")
        for difference in found.differences:
            self._say(self.style.WARNING(f"Differs: {difference}."))
        if found.differences:
            self._say("Run setup_timescaledb --force to apply the settings.")
