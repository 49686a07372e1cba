"""Writes around rules: saving them, and keeping `is_watched` true to them."""

from datetime import datetime

from django.db import connection, transaction

from apps.events import services as event_services
from apps.events.models import Event
from apps.rules.models import Rule, RuleState
from apps.rules.queries import CONCERNS

# What a change of these makes worthless: where the rule stood, and the events that it holds open.
JUDGEMENT_FIELDS = ("condition", "metric_id", "device_id", "device_type_id", "owner_id", "is_enabled")


@transaction.atomic
def save_rule(*, rule: Rule, now: datetime) -> Rule:
    """Save a new or changed rule. A rule that judges otherwise than before starts afresh."""
    if rule.device is not None:
        rule.owner = rule.device.owner
    before = Rule.objects.select_for_update().filter(pk=rule.pk).first()
    rule.save()
    if before is not None and _judges_otherwise(before, rule):
        _start_afresh(rule, now)
    refresh_watched()
    return rule


@transaction.atomic
def delete_rule(*, rule: Rule, now: datetime) -> None:
    """Its events stay, resolved and without their rule."""
    _start_afresh(rule, now)
    rule.delete()
    refresh_watched()


def mark_watched(*, device_metric_ids: list[int]) -> None:
    """For series that were just bound: does a rule (for the device's type) watch them already?"""
    _update_watched("AND dm.id = ANY(%s)", [device_metric_ids])


def refresh_watched() -> None:
    """For all series; only rows that change are written."""
    _update_watched("", [])


def _update_watched(restriction: str, params: list) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE device_metrics SET is_watched = truth.is_watched
            FROM (
                SELECT dm.id, EXISTS (SELECT FROM rules r WHERE {CONCERNS}) AS is_watched
                FROM device_metrics dm JOIN devices d ON d.id = dm.device_id
                WHERE true {restriction}
            ) AS truth
            WHERE truth.id = device_metrics.id AND device_metrics.is_watched <> truth.is_watched
            """,
            params,
        )


def _judges_otherwise(before: Rule, after: Rule) -> bool:
    return any(getattr(before, field) != getattr(after, field) for field in JUDGEMENT_FIELDS)


def _start_afresh(rule: Rule, now: datetime) -> None:
    RuleState.objects.filter(rule=rule).delete()
    for event in Event.objects.open().filter(rule=rule):
        event_services.resolve_cleared(rule_id=rule.pk, device_metric_id=event.device_metric_id, timestamp=now, now=now)
