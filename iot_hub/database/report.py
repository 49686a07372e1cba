"""How the database is doing: sections of rows, each from a query in `sql/`. Works on both editions."""

from pathlib import Path
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

SQL = Path(__file__).parent / "sql"

# Title by section. A section that this server can't answer holds a sentence in place of rows.
SECTIONS = {
    "database": "Database",
    "tables": "Largest tables",
    "hypertables": "Hypertables and their chunks",
    "compression": "Compression",
    "rollups": "Rollups: how far behind the newest hour is",
    "jobs": "TimescaleDB's jobs",
    "statements": "Queries that took most time",
    "unused_indexes": "Indexes that nothing has used",
    "connections": "Connections",
    "oldest_transaction": "Oldest open transaction",
    "outboxes": "Outboxes",
}
ROLLUPS = ("telemetry_hourly", "telemetry_daily")
NEEDS_COMMUNITY = ("compression", "jobs")

type Row = dict[str, Any]
type Section = list[Row] | str


def build(connection: BaseDatabaseWrapper) -> dict[str, Section]:
    """Reads only. One section's failure leaves the others alone."""
    report = {"database": _answer(connection, "database")}
    edition = report["database"][0]["edition"] if isinstance(report["database"], list) else None
    for name in SECTIONS:
        if name not in report:
            report[name] = _section(connection, name, edition)
    return report


def outboxes(connection: BaseDatabaseWrapper) -> list[Row]:
    return _rows(connection, _sql("outboxes"))


def _section(connection: BaseDatabaseWrapper, name: str, edition: str | None) -> Section:
    if name in NEEDS_COMMUNITY and edition != "Community":
        return "TimescaleDB's Apache-2 edition does not have it."
    if name == "rollups":
        return _rollups(connection)
    if name == "statements" and (reason := _statements_missing(connection)):
        return reason
    return _answer(connection, name)


def _statements_missing(connection: BaseDatabaseWrapper) -> str:
    """Why pg_stat_statements can't be asked; empty when it can."""
    loaded, created = _rows(
        connection,
        "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%' AS yes UNION ALL"
        " SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')",
    )
    if not loaded["yes"]:
        return "Not known: pg_stat_statements is not in shared_preload_libraries."
    if not created["yes"]:
        return "Not known: run CREATE EXTENSION pg_stat_statements in this database."
    return ""


def _rollups(connection: BaseDatabaseWrapper) -> Section:
    found = _rows(connection, "SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NOT NULL", [[*ROLLUPS]])
    lag = "round(extract(epoch FROM now() - max(bucket)))::bigint AS lag_seconds"
    ask = f"SELECT %s AS rollup, max(bucket) AS newest, {lag} FROM "
    rows = [_rows(connection, ask + row["name"], [row["name"]])[0] for row in found]
    return rows or "There are no rollups in this database."


def _answer(connection: BaseDatabaseWrapper, name: str) -> Section:
    try:
        return _rows(connection, _sql(name))
    except Error as error:
        return f"Not known: {str(error).strip().splitlines()[0]}"


def _sql(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


def _rows(connection: BaseDatabaseWrapper, sql: str, values: list | None = None) -> list[Row]:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(sql, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
