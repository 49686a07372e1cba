"""Writes around rules: saving them, and keeping `is_watched` true to them."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from apps.events import services as event_services
from apps.rules.locks import own_rules
from apps.rules.models import Rule, RuleChange, RuleMetric, RuleState
from apps.rules.queries import IS_WATCHED, SUBJECT, series_asked_for
from apps.rules.terms import other_metrics

# What a change of these makes worthless: where the rule stood, and the events that it holds open.
JUDGEMENT_FIELDS = ("condition", "metric_id", "device_id", "device_type_id", "owner_id", "is_enabled")
CHANGES_KEPT = timedelta(hours=2)
# A rule over several metrics judges a device once its own metric is bound: workers have to look again.
_NEW_SERIES_OF_SEVERAL = """
    INSERT INTO rule_changes (xid, rule_id, changed_at)
    SELECT DISTINCT pg_current_xact_id()::text::bigint, r.id, now()
    FROM rules r JOIN rule_metrics rm ON rm.rule_id = r.id
    JOIN device_metrics dm ON dm.metric_id IN (r.metric_id, rm.metric_id)
    WHERE dm.id = ANY(%s)
"""
_FORGET_STRANGERS = f"""
    DELETE FROM rule_states s USING rules r, device_metrics dm, devices d
    WHERE s.rule_id = r.id AND s.device_metric_id = dm.id AND dm.device_id = d.id
      AND (%(devices)s::uuid[] IS NULL OR d.id = ANY(%(devices)s::uuid[]))
      AND (r.metric_id = dm.metric_id AND {SUBJECT}) IS NOT TRUE
    RETURNING s.rule_id, s.device_metric_id
"""


def save_rule(*, rule: Rule, now: datetime) -> Rule:
    """Save a new or changed rule. A rule that judges otherwise than before starts afresh."""
    replace_rules(delete=[], save=[rule], now=now)
    return rule


def delete_rule(*, rule: Rule, now: datetime) -> None:
    """Its events stay, resolved and without their rule."""
    replace_rules(delete=[rule], save=[], now=now)


@transaction.atomic
def replace_rules(*, delete: list[Rule], save: list[Rule], now: datetime) -> None:
    """Many at once. Only the series that these rules judged, or will judge, are looked at."""
    own_rules()
    rule_ids = [rule.pk for rule in (*delete, *save)]
    asked_for = series_asked_for(rule_ids=rule_ids)
    for rule in delete:
        _delete(rule, now)
    for rule in save:
        _save(rule, now)
    asked_for |= series_asked_for(rule_ids=rule_ids)
    _update_watched("AND dm.id = ANY(%s)", [sorted(asked_for)])


@transaction.atomic
def settle(*, device_ids: list[UUID] | None = None, now: datetime) -> None:
    """After devices changed their type or owner: which rules judge them now? All devices, unless some are named.

    A rule that judges a series no longer forgets where it stood, and resolves what it held open.
    """
    own_rules()
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_STRANGERS, {"devices": device_ids})
        event_services.resolve_cleared(cleared=dict.fromkeys(cursor.fetchall(), now), now=now)
    if device_ids is None:
        _update_watched("", [])
    else:
        _update_watched("AND dm.device_id = ANY(%s)", [device_ids])


def _save(rule: Rule, now: datetime) -> None:
    if rule.device is not None:
        rule.owner = rule.device.owner
    before = Rule.objects.select_for_update().filter(pk=rule.pk).first()
    if before is not None and before.owner_id != rule.owner_id and before.code_key == rule.code_key:
        rule.code_key = ""  # its device changed hands: the new owner's document knows nothing of it
    rule.save()
    _save_other_metrics(rule)
    if before is not None and _judges_otherwise(before, rule):
        _start_afresh(rule, now)


def _delete(rule: Rule, now: datetime) -> None:
    _start_afresh(rule, now)
    rule.delete()


def mark_watched(*, device_metric_ids: list[int]) -> None:
    """For series that were just bound: does a rule (for the device's type) watch them already?"""
    _update_watched("AND dm.id = ANY(%s)", [device_metric_ids])
    with connection.cursor() as cursor:
        cursor.execute(_NEW_SERIES_OF_SEVERAL, [device_metric_ids])


def _update_watched(restriction: str, params: list) -> None:
    """Only rows that change are written."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE device_metrics SET is_watched = truth.is_watched
            FROM (
                SELECT dm.id, {IS_WATCHED} AS is_watched
                FROM device_metrics dm JOIN devices d ON d.id = dm.device_id
                WHERE true {restriction}
            ) AS truth
            WHERE truth.id = device_metrics.id AND device_metrics.is_watched <> truth.is_watched
            """,
            params,
        )


def forget_changes(*, now: datetime) -> int:
    """How many were forgotten. Workers that have not looked for so long start from nothing."""
    return RuleChange.objects.filter(changed_at__lt=now - CHANGES_KEPT).delete()[0]


def _save_other_metrics(rule: Rule) -> None:
    """The metrics that the condition asks for besides the rule's own, which need its readings too."""
    wanted = other_metrics(rule)
    present = dict(rule.other_metrics.values_list("metric_id", "called"))
    if wanted != present:
        rule.other_metrics.all().delete()
        rows = [RuleMetric(rule=rule, metric_id=metric_id, called=name) for metric_id, name in wanted.items()]
        RuleMetric.objects.bulk_create(rows)


def _judges_otherwise(before: Rule, after: Rule) -> bool:
    return any(getattr(before, field) != getattr(after, field) for field in JUDGEMENT_FIELDS)


def _start_afresh(rule: Rule, now: datetime) -> None:
    RuleState.objects.filter(rule=rule).delete()
    event_services.resolve_of_rule(rule_id=rule.pk, now=now)
