"""`docs/db/` says what the code makes."""

import os
import subprocess
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from iot_hub.erd.tables import read_tables
from tests.processes import ROOT, database_url

DOCS = ROOT / "docs" / "db"


@pytest.mark.django_db
def test_schema_is_what_migrations_and_setup_make():
    """Else run scripts/export_schema.sh."""
    result = subprocess.run(
        [ROOT / "scripts" / "export_schema.sh", "-"],
        env=os.environ | {"DATABASE_URL": database_url(), "MIGRATION_DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == (DOCS / "schema.sql").read_text()


def test_diagram_is_what_the_models_say():
    """Else run scripts/generate_erd.sh."""
    call_command("generate_erd", check=True)


def test_stale_diagram_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"erd.dbml, erd.svg"):
        call_command("generate_erd", check=True, folder=tmp_path)


@pytest.mark.django_db
def test_diagram_has_every_table_of_the_hub_with_every_column():
    tables = {table.name: {column.name for column in table.columns} for table in read_tables()}
    with connection.cursor() as cursor:
        for name, columns in tables.items():
            found = connection.introspection.get_table_description(cursor, name)
            assert {column.name for column in found} == columns
    picture = ElementTree.parse(DOCS / "erd.svg")  # noqa: S314 - a file of our own
    words = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert set(tables) <= words
