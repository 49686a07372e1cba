from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0001_initial"),
        ("users", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(
            (SQL / "0002_catalog_triggers.sql").read_text(),
            (SQL / "0002_catalog_triggers.reverse.sql").read_text(),
        )
    ]
