"""Which rules judge which series."""

from collections import defaultdict

from django.db import connection

from apps.rules.models import Rule

# The one statement of whom a rule concerns; `r`, `dm` and `d` are rules, device_metrics and devices.
CONCERNS = """
    r.is_enabled AND r.metric_id = dm.metric_id AND (
        r.device_id = d.id
        OR (r.device_type_id = d.device_type_id AND (r.owner_id IS NULL OR r.owner_id = d.owner_id))
    )
"""


def rules_of_series(*, device_metric_ids: list[int]) -> dict[int, list[Rule]]:
    """Enabled rules by the id of the series that they judge; series without a rule are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT dm.id, r.id
            FROM device_metrics dm
            JOIN devices d ON d.id = dm.device_id
            JOIN rules r ON {CONCERNS}
            WHERE dm.id = ANY(%s)
            ORDER BY r.created_at, r.id
            """,
            [device_metric_ids],
        )
        pairs = cursor.fetchall()
    rules = Rule.objects.select_related("metric").in_bulk({rule_id for _, rule_id in pairs})
    by_series = defaultdict(list)
    for series_id, rule_id in pairs:
        by_series[series_id].append(rules[rule_id])
    return dict(by_series)
