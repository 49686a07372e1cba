"""Carries the plan out: under one lock, in one transaction, as often as you like."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.timescale.edition import Edition, Extension, SetupError, read_edition, read_extension
from apps.telemetry.timescale.lifecycle import read_lifecycle
from apps.telemetry.timescale.plan import EXTENSION, Step, build_plan, changeover
from apps.telemetry.timescale.state import State, observe

INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there, and what is to be."""

    extension: Extension
    edition: Edition
    steps: list[Step]
    state: State

    @property
    def is_set_up(self) -> bool:
        return "hypertable" in self.state

    def is_done(self, step: Step) -> bool:
        return self.state.get(step.key) == step.wanted

    def lacks(self, step: Step) -> bool:
        """Tables and views of a newer release; what has them already is left alone."""
        return step.wanted in ("there", "view") and step.key not in self.state

    @property
    def differences(self) -> list[str]:
        """Where the database is not as the settings want it."""
        found = {step.key: step.wanted for step in self.steps if not self.is_done(step)}
        return [
            f"{key}: {self.state.get(key) or 'not set'} in the database, {wanted or 'not set'} in the settings"
            for key, wanted in found.items()
        ]


def survey(connection: BaseDatabaseWrapper, telemetry: Mapping) -> Survey:
    """Looks and changes nothing. `telemetry` is `settings.TELEMETRY`. Raises SetupError."""
    extension = _require_database(connection)
    lifecycle = read_lifecycle(connection, telemetry)
    if extension.installed is None:
        edition, state = _edition_on_offer(connection), {}
    else:
        edition, state = read_edition(connection), observe(connection)
    steps = build_plan(edition, lifecycle)
    if edition is Edition.COMMUNITY and state.get("telemetry_hourly") == "view":
        steps = changeover(steps)
    return Survey(extension, edition, steps, state)


def run(connection: BaseDatabaseWrapper, telemetry: Mapping, *, force: bool, on_step: Callable[[Step], None]) -> Survey:
    """Does what is to be done and answers what it found; where the hypertable exists and `force`
    is off, only what is missing is made. Raises SetupError; then all steps but the extension are undone."""
    extension = _require_database(connection)
    read_lifecycle(connection, telemetry)  # a bad setting is told before anything is changed
    if extension.installed is None:
        on_step(EXTENSION)
        _create_extension(connection)
    with transaction.atomic(using=connection.alias):
        _lock(connection)
        found = survey(connection, telemetry)
        for step in found.steps:
            if step.key != EXTENSION.key and (force or not found.is_set_up or found.lacks(step)):
                on_step(step)
                _execute(connection, step)
        return found


def follow_retention(connection: BaseDatabaseWrapper, telemetry: Mapping) -> None:
    """Has continuous aggregates look back no farther than every reading is kept, as device types are now."""
    found = survey(connection, telemetry)
    for step in found.steps:
        if step.key == "refresh telemetry_hourly back to" and not found.is_done(step):
            _execute(connection, step)


def _require_database(connection: BaseDatabaseWrapper) -> Extension:
    extension = read_extension(connection)
    extension.require_available()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('telemetry')")
        if cursor.fetchone()[0] is None:
            raise SetupError("There is no table telemetry yet. Run manage.py migrate first.")
    return extension


def _edition_on_offer(connection: BaseDatabaseWrapper) -> Edition:
    """Before the extension is there: created on a connection of its own and rolled back with it."""
    throwaway = connection.copy()
    with closing(throwaway):
        throwaway.set_autocommit(False)
        _execute_extension(throwaway)
        return read_edition(throwaway)


def _create_extension(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic(using=connection.alias):
        _lock(connection)
        _execute_extension(connection)


def _execute_extension(connection: BaseDatabaseWrapper) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(EXTENSION.sql)
    except DatabaseError as error:
        if getattr(error.__cause__, "pgcode", None) != INSUFFICIENT_PRIVILEGE:
            raise SetupError(f"The extension could not be created: {_first_line(error)}") from error
        raise SetupError(
            f"The user of the database may not create extensions. An administrator has to run, once, in "
            f"database {connection.settings_dict['NAME']}: {EXTENSION.clean_sql}"
        ) from error


def _lock(connection: BaseDatabaseWrapper) -> None:
    """Of two setups at once, the second waits and then finds everything done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('setup_timescaledb'))")


def _execute(connection: BaseDatabaseWrapper, step: Step) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(step.sql)
    except DatabaseError as error:
        raise SetupError(f"Nothing was set up, because {step.title} failed: {_first_line(error)}") from error


def _first_line(error: DatabaseError) -> str:
    return str(error).strip().splitlines()[0]
