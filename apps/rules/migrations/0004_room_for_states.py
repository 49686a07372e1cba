from django.db import migrations


class Migration(migrations.Migration):
    """Every reading that is judged rewrites its state. With room on its page the new row needs no entry in any index."""

    dependencies = [("rules", "0003_rules_as_code")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE rule_states SET (fillfactor = 50)",
            "ALTER TABLE rule_states RESET (fillfactor)",
        )
    ]
