"""`manage.py db_report`: how the database is doing, as tables for people or JSON for programs."""

import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, Error, connections

from iot_hub.database import report

UNITS = ("B", "kB", "MB", "GB", "TB")
WIDEST = 100


class Command(BaseCommand):
    help = "Reports sizes, chunks, compression, rollups, slow queries, unused indexes, connections and outboxes."

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="JSON: bytes as numbers, times as ISO 8601.")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Alias of the database.")

    def handle(self, *, database: str, **options):
        try:
            sections = report.build(connections[database])
        except Error as error:
            raise CommandError(f"The database failed: {str(error).strip()}") from error
        if options["json"]:
            self.stdout.write(json.dumps(sections, indent=2, cls=DjangoJSONEncoder))
            return
        for name, title in report.SECTIONS.items():
            self.stdout.write(self.style.MIGRATE_HEADING(title))
            self.stdout.write(_shown(sections[name]) + "\n")


def _shown(section: report.Section) -> str:
    if isinstance(section, str):
        return f"  {section}"
    if not section:
        return "  none"
    cells = [[_name(name) for name in section[0]]]
    cells += [[_cell(name, value) for name, value in row.items()] for row in section]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def _name(name: str) -> str:
    return name.replace("_bytes", " size").replace("bytes", "size").replace("_", " ").strip()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if "bytes" in name:
        return _size(int(value))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)[:WIDEST]


def _size(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 else f"{size:.1f} {UNITS[unit]}"
