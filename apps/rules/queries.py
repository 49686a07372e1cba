"""Which rules judge which series."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from apps.rules.models import Rule

# The one statement of whom a rule concerns; `r`, `dm` and `d` are rules, device_metrics and devices. Where many rules
# are looked through each way stands on its own: a planner that sees both in one OR reads all of them.
_OF_DEVICE = "r.device_id = d.id"
_OF_TYPE = "r.device_type_id = d.device_type_id AND (r.owner_id IS NULL OR r.owner_id = d.owner_id)"
SUBJECT = f"({_OF_DEVICE} OR ({_OF_TYPE}))"
_ASKS = """
    (r.metric_id = dm.metric_id
     OR EXISTS (SELECT FROM rule_metrics rm WHERE rm.rule_id = r.id AND rm.metric_id = dm.metric_id))
"""
IS_WATCHED = f"""
    (EXISTS (SELECT FROM rules r WHERE r.is_enabled AND {_OF_DEVICE} AND {_ASKS})
     OR EXISTS (SELECT FROM rules r WHERE r.is_enabled AND {_OF_TYPE} AND {_ASKS}))
"""
_SERIES_ASKED_FOR = " UNION ".join(
    f"""
    SELECT dm.id FROM rules r
    JOIN devices d ON {subject}
    JOIN device_metrics dm ON dm.device_id = d.id AND {_ASKS}
    WHERE r.id = ANY(%(rules)s)
    """
    for subject in (_OF_DEVICE, _OF_TYPE)
)
_CONCERNED = """
    SELECT dm.id, dm.device_id, r.id, anchor.id, rm.called
    FROM device_metrics dm
    JOIN devices d ON d.id = dm.device_id
    JOIN rules r ON r.is_enabled AND {subject}
    JOIN device_metrics anchor ON anchor.device_id = d.id AND anchor.metric_id = r.metric_id
    LEFT JOIN rule_metrics rm ON rm.rule_id = r.id AND rm.metric_id = dm.metric_id
    WHERE dm.id = ANY(%(series)s) AND (r.metric_id = dm.metric_id OR rm.id IS NOT NULL)
"""
_RULES_OF_SERIES = (
    " UNION ALL ".join(_CONCERNED.format(subject=subject) for subject in (_OF_DEVICE, _OF_TYPE)) + " ORDER BY 3, 4"
)
# Of a rule that need not be saved: `r` is made of parameters, `asked` are the other metrics that it asks for.
_SERIES_OF_RULE = f"""
    SELECT d.id, anchor.id, part.id, asked.called
    FROM (SELECT %(device)s::uuid AS device_id, %(device_type)s::uuid AS device_type_id,
                 %(owner)s::bigint AS owner_id) AS r
    JOIN devices d ON {SUBJECT}
    JOIN device_metrics anchor ON anchor.device_id = d.id AND anchor.metric_id = %(metric)s
    JOIN device_metrics part ON part.device_id = d.id
    LEFT JOIN unnest(%(others)s::int[], %(called)s::text[]) AS asked (metric_id, called)
        ON asked.metric_id = part.metric_id
    WHERE (part.id = anchor.id OR asked.called IS NOT NULL) AND (%(only)s::uuid IS NULL OR d.id = %(only)s::uuid)
    ORDER BY anchor.id, part.id
"""


@dataclass(frozen=True, slots=True)
class Concern:
    """A rule that judges a series. Its state is kept at `anchor`, the series of the rule's own metric.

    `called` is what the condition calls this series' metric, None for the rule's own.
    """

    rule_id: UUID
    device_id: UUID
    anchor: int
    called: str | None


def rules_of_series(*, device_metric_ids: list[int]) -> dict[int, list[Concern]]:
    """Enabled rules by the id of the series that they judge; series without a rule are left out."""
    by_series = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_RULES_OF_SERIES, {"series": device_metric_ids})
        for series_id, device_id, rule_id, anchor, called in cursor.fetchall():
            by_series[series_id].append(Concern(rule_id, device_id, anchor, called))
    return dict(by_series)


def series_asked_for(*, rule_ids: list[UUID]) -> set[int]:
    """Every series that one of these rules asks for, enabled or not."""
    with connection.cursor() as cursor:
        cursor.execute(_SERIES_ASKED_FOR, {"rules": rule_ids})
        return {series_id for (series_id,) in cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule judges together: the series of one device, with what the condition calls their metrics."""

    device_id: UUID
    anchor: int
    parts: dict[int, str | None]


def series_of_rule(*, rule: Rule, others: dict[int, str], device_id: UUID | None = None) -> list[Subject]:
    """Every series that the rule judges, enabled or not, saved or not; or those of one device.

    `others` are the metrics that it asks for besides its own: what its condition calls them, by id.
    """
    params = {
        "device": rule.device_id,
        "device_type": rule.device_type_id,
        "owner": rule.owner_id,
        "metric": rule.metric_id,
        "others": list(others),
        "called": list(others.values()),
        "only": device_id,
    }
    subjects: dict[int, Subject] = {}
    with connection.cursor() as cursor:
        cursor.execute(_SERIES_OF_RULE, params)
        for device, anchor, series_id, called in cursor.fetchall():
            subjects.setdefault(anchor, Subject(device, anchor, {})).parts[series_id] = called
    return list(subjects.values())
