"""`manage.py generate_erd`: docs/db/erd.dbml and docs/db/erd.svg from the models."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from iot_hub.erd import dbml, svg
from iot_hub.erd.tables import read_tables


class Command(BaseCommand):
    help = "Writes the data model as DBML and as a picture."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--check", action="store_true", help="Write nothing; fail if the files are not current.")
        parser.add_argument("--folder", type=Path, default=Path(settings.BASE_DIR) / "docs" / "db")

    def handle(self, *, check: bool, folder: Path, **options):
        tables = read_tables()
        files = {folder / "erd.dbml": dbml.render(tables), folder / "erd.svg": svg.render(tables)}
        if check:
            stale = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
            if stale:
                raise CommandError(f"Not what the models say: {', '.join(stale)}. Run scripts/generate_erd.sh.")
            return
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
        self.stdout.write(f"Wrote {len(tables)} tables into {folder}.")
