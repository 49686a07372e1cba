"""`manage.py db_report`: everything an operator asks first, on either edition."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from apps.telemetry.models import WatchedBatch
from apps.telemetry.timescale.edition import Edition, read_edition
from iot_hub.database.report import SECTIONS

pytestmark = pytest.mark.django_db


def report(*flags: str) -> str:
    out = StringIO()
    call_command("db_report", *flags, stdout=out, no_color=True)
    return out.getvalue()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def readings():
    execute(
        "INSERT INTO telemetry (device_metric_id, ts, value_numeric)"
        " SELECT 1, timestamptz '2026-11-20' - i * interval '1 day', i FROM generate_series(1, 30) AS i"
    )


def test_report_has_every_section_for_people_and_as_json(readings):
    text, sections = report(), json.loads(report("--json"))
    assert set(sections) == set(SECTIONS)
    assert all(title in text for title in SECTIONS.values())
    failed = [rows for rows in sections.values() if isinstance(rows, str) and "Not known: " in rows]
    assert all("pg_stat_statements" in sentence for sentence in failed)


def test_hypertable_counts_with_its_chunks(readings):
    sections = json.loads(report("--json"))
    hypertable = next(row for row in sections["hypertables"] if row["hypertable"] == "telemetry")
    table = next(row for row in sections["tables"] if row["table"] == "telemetry")
    assert hypertable["chunks"] >= 4
    assert table["bytes"] >= hypertable["chunks"] * 8192


def test_what_the_edition_lacks_is_said():
    sections = json.loads(report("--json"))
    apache = read_edition(connection) is Edition.APACHE
    assert isinstance(sections["compression"], str) == apache


def test_without_pg_stat_statements_it_says_how_to_get_it():
    execute("DROP EXTENSION IF EXISTS pg_stat_statements")
    assert "pg_stat_statements" in json.loads(report("--json"))["statements"]


def test_with_pg_stat_statements_slow_queries_are_listed():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('shared_preload_libraries')")
        if "pg_stat_statements" not in cursor.fetchone()[0]:
            pytest.skip("the server does not load pg_stat_statements")
    execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    rows = json.loads(report("--json"))["statements"]
    assert {"calls", "mean_ms", "query"} <= set(rows[0])


def test_outboxes_tell_what_waits():
    WatchedBatch.objects.create(shard=1, payload=b"")
    rows = {row["outbox"]: row["waiting"] for row in json.loads(report("--json"))["outboxes"]}
    assert rows["watched_batches"] == 1
    assert rows["due_deliveries"] == 0
