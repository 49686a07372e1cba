"""What the machine found, written down as events."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg2.extras import execute_values

from apps.devices.models import DeviceMetric
from apps.events import services as event_services
from apps.rules import escalation, retroactive
from apps.rules.conditions import NoData, Several
from apps.rules.machine import Change, Terms, Transition
from apps.rules.models import Rule
from apps.rules.retroactive import Episode
from apps.rules.terms import to_datetime

_TOUCH = """
    UPDATE rules SET last_triggered_at = greatest(rules.last_triggered_at, latest.at)
    FROM (VALUES %s) AS latest (id, at) WHERE rules.id = latest.id
"""


@dataclass(frozen=True, slots=True)
class Happening:
    rule_id: UUID
    series_id: int
    what: Transition | Episode
    terms: Terms


def record(happened: list[Happening], *, now: datetime) -> None:
    """In the caller's transaction: open and resolve events, in this order."""
    if not happened:
        return
    rules = Rule.objects.in_bulk({one.rule_id for one in happened})
    with_names = DeviceMetric.objects.select_related("device", "metric")
    series = with_names.in_bulk({one.series_id for one in happened})
    triggered: dict[UUID, datetime] = {}
    for one in happened:
        rule = rules.get(one.rule_id)
        if rule is None or one.series_id not in series:
            continue  # deleted a moment ago
        if _record(one, rule, series[one.series_id], now):
            at = to_datetime(one.what.ts)
            triggered[rule.pk] = max(at, triggered.get(rule.pk, at))
    _touch(triggered)


def _record(one: Happening, rule: Rule, series: DeviceMetric, now: datetime) -> bool:
    """Whether an event opened."""
    if isinstance(one.what, Episode):
        _remember(one, rule, series, now)
        return False
    if one.what.change is Change.CLEARED:
        at = to_datetime(one.what.ts)
        event_services.resolve_cleared(rule_id=rule.pk, device_metric_id=series.pk, timestamp=at, now=now)
        return False
    steps = escalation.of_rule(rule.severity_after, rule.severity)
    return event_services.open_event(**_fields(one, rule, series), severity_after=steps, now=now) is not None


def _remember(one: Happening, rule: Rule, series: DeviceMetric, now: datetime) -> None:
    """An episode of the past, unless an event tells of it already."""
    start, end = to_datetime(one.what.ts), to_datetime(one.what.end)
    cooldown = timedelta(microseconds=one.terms.cooldown)
    if retroactive.is_known(rule_id=rule.pk, series_id=series.pk, start=start, end=end, cooldown=cooldown):
        return
    event_services.remember_event(**_fields(one, rule, series), cleared=end, now=now)


def _fields(one: Happening, rule: Rule, series: DeviceMetric) -> dict[str, Any]:
    at = to_datetime(one.what.ts)
    unit = series.unit or series.metric.unit
    says = one.terms.condition.describe(series.metric.name, unit)
    return {
        "rule_id": rule.pk,
        "device_id": series.device_id,
        "device_metric_id": series.pk,
        "severity": rule.severity,
        "message": f"{rule.name}: {says}, measured {one.what.measured} on {series.device.name}",
        "timestamp": at,
        "reading_ts": None if isinstance(one.terms.condition, (NoData, Several)) else at,
        "actions": rule.action_config,
        "metadata": {
            "rule": {"name": rule.name, "condition": rule.condition},
            "reading": _reading(one, series, unit, at),
        },
    }


def _reading(one: Happening, series: DeviceMetric, unit: str, at: datetime) -> dict[str, Any]:
    """What decided. `value` is that of the rule's own metric; with several metrics `values` has them all."""
    reading = {"metric": series.metric.name, "unit": unit, "value": one.what.value, "timestamp": at.isoformat()}
    if isinstance(one.what.value, dict):
        values = one.what.value
        reading |= {"value": values.get(series.metric.name.lower()), "values": values}
    return reading | {"measured": one.what.measured}


def _touch(triggered: dict[UUID, datetime]) -> None:
    """`last_triggered_at`, only ever forward. Rows are locked in one order, so that no two wait crosswise."""
    if not triggered:
        return
    ids = sorted(triggered)
    list(Rule.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    rows = [(str(rule_id), triggered[rule_id]) for rule_id in ids]
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, _TOUCH, rows, template="(%s::uuid, %s::timestamptz)")
