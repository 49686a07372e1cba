from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("rules", "0001_initial")]

    operations = [
        migrations.RunSQL(
            (SQL / "0002_rule_changes.sql").read_text(),
            (SQL / "0002_rule_changes.reverse.sql").read_text(),
        )
    ]
