"""`manage.py setup_db_roles`: database roles for ETL, API readers and analysts."""

import re

import environ
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from iot_hub.database import roles

SAFE_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
SAFE_TIMEOUT = re.compile(r"\d+ ?(ms|s|min|h)")


class Command(BaseCommand):
    help = (
        "Makes the roles <prefix>_etl (read and write), <prefix>_api and <prefix>_analyst (read only), none of which "
        "sees secrets. Passwords come from DB_ETL_PASSWORD, DB_API_PASSWORD and DB_ANALYST_PASSWORD; a role without "
        "one gets no login. Safe to repeat; run it after migrations that add tables."
    )

    def add_arguments(self, parser):
        parser.add_argument("--dry-run", action="store_true", help="Print the SQL, without passwords; change nothing.")
        parser.add_argument("--prefix", help="How the roles' names begin (DB_ROLE_PREFIX, or iot_hub).")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Alias of the database.")

    def handle(self, *, dry_run: bool, prefix: str | None, database: str, **options):
        env = environ.Env()
        prefix = prefix or env("DB_ROLE_PREFIX", default="iot_hub")
        timeout = env("DB_ANALYST_TIMEOUT", default="60s")
        if not SAFE_NAME.fullmatch(prefix):
            raise CommandError(f"{prefix!r} can't begin a role's name: use small letters, digits and _.")
        if not SAFE_TIMEOUT.fullmatch(timeout):
            raise CommandError(f"DB_ANALYST_TIMEOUT is {timeout!r}; write it such as '60s' or '5min'.")
        wanted = roles.all_roles(analyst_timeout=timeout)
        passwords = {role.key: env(role.password_variable, default="") for role in wanted}
        connection = connections[database]
        try:
            plan = roles.plan(connection, prefix=prefix, analyst_timeout=timeout, passwords=passwords)
            if dry_run:
                self.stdout.write("\n".join(statement.shown for statement in plan))
                self.stdout.write("Dry run: nothing was changed.")
                return
            roles.apply(connection, plan)
        except Error as error:
            raise CommandError(_explained(error, connection)) from error
        self._report(prefix, wanted, passwords)

    def _report(self, prefix: str, wanted: list[roles.Role], passwords: dict[str, str]) -> None:
        for role in wanted:
            how = "password set" if passwords[role.key] else f"{role.password_variable} is not set: login as it was"
            self.stdout.write(f"{prefix}_{role.key}: {role.rights} ({how})")
        self.stdout.write(self.style.SUCCESS("The database roles are set up."))


def _explained(error: Error, connection) -> str:
    sentence = f"Nothing was changed, because the database refused: {str(error).strip().partition(chr(10))[0]}."
    if getattr(error.__cause__, "pgcode", None) == "42501":
        user = connection.settings_dict["USER"]
        sentence += f" The role {user} has to own the tables and to have CREATEROLE: ALTER ROLE {user} CREATEROLE."
    return sentence
