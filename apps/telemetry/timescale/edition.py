"""Which TimescaleDB this is: what its catalogue says, and what the edition offers."""

from dataclasses import dataclass
from enum import StrEnum

from django.db.backends.base.base import BaseDatabaseWrapper


class SetupError(Exception):
    """Something that the operator has to put right; the text says what and how."""


class Edition(StrEnum):
    """`timescaledb.license` decides. A Community build can be set to `apache` too."""

    COMMUNITY = "timescale"
    APACHE = "apache"

    @property
    def label(self) -> str:
        return "Community" if self is Edition.COMMUNITY else "Apache-2"

    @classmethod
    def of(cls, license_setting: str | None) -> "Edition":
        return cls.COMMUNITY if license_setting == cls.COMMUNITY.value else cls.APACHE


@dataclass(frozen=True, slots=True)
class Extension:
    """What the catalogue says: the version on offer and the version in this database, if any."""

    available: str | None
    installed: str | None

    def require_available(self) -> None:
        if self.available is None and self.installed is None:
            raise SetupError(
                "This PostgreSQL server has no TimescaleDB extension. Install TimescaleDB on the server, add "
                "timescaledb to shared_preload_libraries, restart PostgreSQL, and run this command again."
            )


def read_extension(connection: BaseDatabaseWrapper) -> Extension:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),"
            " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
        )
        return Extension(*cursor.fetchone())


def read_edition(connection: BaseDatabaseWrapper) -> Edition:
    """Known only where the extension is installed: the setting comes with its library."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timescaledb.license', true)")
        return Edition.of(cursor.fetchone()[0])
