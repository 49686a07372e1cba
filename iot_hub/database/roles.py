"""Database roles for others than the hub: ETL reads and writes, API and analyst read, nobody sees secrets.

`plan` looks at the database and lists statements; `apply` runs them in one transaction. The rights are taken away and
given anew each time, so that running it after a migration is all there is to know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import encrypt_password

WHOLE = ("*",)

# Whoever holds these can act as someone else. Column lists keep the rest of the row readable.
SECRET = {
    "users": ("password",),
    "device_keys": ("digest",),
    "django_session": WHOLE,
    "token_blacklist_outstandingtoken": WHOLE,
    "token_blacklist_blacklistedtoken": WHOLE,
}
# Analysts need no people and no addresses; those of webhooks are often secrets.
PERSONAL = {
    "users": ("password", "email", "first_name", "last_name", "last_login"),
    "device_keys": WHOLE,
    "django_admin_log": WHOLE,
    "notification_templates": ("recipients",),
    "notification_deliveries": ("recipient_address", "recipient_name", "rendered_message", "error_message"),
    "rules": ("action_config",),
    "events": ("execution_results",),
}

# What tells tables of the hub from those that extensions bring.
TABLES = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    GROUP BY c.relname ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Role:
    """`hidden` names columns by table; `settings` are the role's defaults, by name."""

    key: str
    rights: str
    hidden: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def password_variable(self) -> str:
        return f"DB_{self.key.upper()}_PASSWORD"


READ_ONLY = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "5min"}


def all_roles(*, analyst_timeout: str) -> list[Role]:
    return [
        Role("etl", "SELECT, INSERT, UPDATE, DELETE", SECRET),
        Role("api", "SELECT", SECRET, READ_ONLY),
        Role("analyst", "SELECT", SECRET | PERSONAL, READ_ONLY | {"statement_timeout": analyst_timeout}),
    ]


@dataclass(frozen=True, slots=True)
class Statement:
    """`shown` is what may be printed: without a password, and without what is derived from it."""

    sql: str
    secret: str | None = None

    @property
    def shown(self) -> str:
        return self.sql.replace("%s", "'…'") + ";"


def plan(connection: BaseDatabaseWrapper, *, prefix: str, analyst_timeout: str, passwords: Mapping) -> list[Statement]:
    """`passwords` by role key; a role without one is made without a login."""
    quote = connection.ops.quote_name
    statements = []
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        tables = dict(cursor.fetchall())
        cursor.execute("SELECT current_database(), current_schema(), to_regnamespace('_timescaledb_internal')")
        database, schema, chunks = (quote(name) if name else None for name in cursor.fetchone())
        for role in all_roles(analyst_timeout=analyst_timeout):
            name = f"{prefix}_{role.key}"
            cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [name])
            exists = bool(cursor.fetchone()[0])
            statements += _login(quote(name), exists, passwords.get(role.key))
            statements += map(Statement, _defaults(quote(name), role, database))
            statements += map(Statement, _grants(quote(name), role, quote, schema, tables))
            statements += map(Statement, _future(quote(name), role, schema, chunks))
    return statements


def apply(connection: BaseDatabaseWrapper, statements: list[Statement]) -> None:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for statement in statements:
            if statement.secret is None:
                cursor.execute(statement.sql)
            else:
                # The server gets the verifier only, so no log of statements can hold the password.
                role = statement.sql.split()[2].strip('"')
                raw = connection.connection
                verifier = encrypt_password(statement.secret, role, scope=raw, algorithm="scram-sha-256")
                cursor.execute(statement.sql, [verifier])


def _login(role: str, exists: bool, password: str | None) -> list[Statement]:
    """A login that is there stays as it is where no password is given: the variable may live elsewhere."""
    statements = [] if exists else [Statement(f"CREATE ROLE {role} NOLOGIN")]
    if password:
        statements.append(Statement(f"ALTER ROLE {role} LOGIN PASSWORD %s", password))
    return statements


def _defaults(role: str, what: Role, database: str) -> list[str]:
    settings = [
        f"ALTER ROLE {role} IN DATABASE {database} SET {name} = '{value}'" for name, value in what.settings.items()
    ]
    return [f"GRANT CONNECT ON DATABASE {database} TO {role}", *settings]


def _grants(role: str, what: Role, quote, schema: str, tables: Mapping[str, list[str]]) -> list[str]:
    open_tables = ", ".join(quote(table) for table in tables if table not in what.hidden)
    every = ", ".join(map(quote, tables))
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"REVOKE ALL ON {every} FROM {role}",
        f"GRANT {what.rights} ON {open_tables} TO {role}",
    ]
    for table, hidden in what.hidden.items():
        if table in tables and hidden != WHOLE:
            columns = ", ".join(quote(column) for column in tables[table] if column not in hidden)
            statements.append(f"GRANT SELECT ({columns}) ON {quote(table)} TO {role}")
    if "INSERT" in what.rights:
        statements.append(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
    return statements


def _future(role: str, what: Role, schema: str, chunks: str | None) -> list[str]:
    """For tables and chunks that the hub makes later."""
    statements = [f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {what.rights} ON TABLES TO {role}"]
    if "INSERT" in what.rights:
        statements.append(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}")
    if chunks:
        statements += [
            f"GRANT USAGE ON SCHEMA {chunks} TO {role}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {chunks} GRANT {what.rights} ON TABLES TO {role}",
        ]
    return statements
