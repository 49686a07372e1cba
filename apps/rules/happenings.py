"""What the machine found, written down as events."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg2.extras import execute_values

from apps.devices.models import DeviceMetric
from apps.events import services as event_services
from apps.events.services import Opening
from apps.rules import escalation, retroactive
from apps.rules.conditions import NoData, Several
from apps.rules.machine import Change, Terms, Transition
from apps.rules.models import Rule
from apps.rules.retroactive import Episode
from apps.rules.states import Key
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

    @property
    def key(self) -> Key:
        return self.rule_id, self.series_id


def record(happened: list[Happening], *, now: datetime) -> None:
    """In the caller's transaction: open and resolve events, of each rule and series in this order."""
    if not happened:
        return
    writing = _Writing(happened, now)
    for turn in _turns(happened):
        writing.write(turn)
    _touch(writing.triggered)


def _turns(happened: list[Happening]) -> Iterator[list[Happening]]:
    """What can be written together: the first happening of every rule and series, then the second, and so on."""
    queues: dict[Key, list[Happening]] = defaultdict(list)
    for one in happened:
        queues[one.key].append(one)
    return ([one for one in turn if one is not None] for turn in zip_longest(*queues.values()))


class _Writing:
    """`triggered` is when the rules that opened something last did."""

    def __init__(self, happened: list[Happening], now: datetime):
        self._now = now
        self._rules = Rule.objects.in_bulk({one.rule_id for one in happened})
        with_names = DeviceMetric.objects.select_related("device", "metric")
        self._series = with_names.in_bulk({one.series_id for one in happened})
        self.triggered: dict[UUID, datetime] = {}

    def write(self, turn: list[Happening]) -> None:
        """At most one happening of each rule and series."""
        there = [one for one in turn if one.rule_id in self._rules and one.series_id in self._series]
        episodes = [one for one in there if isinstance(one.what, Episode)]
        transitions = [one for one in there if not isinstance(one.what, Episode)]
        self._resolve([one for one in transitions if one.what.change is Change.CLEARED])
        self._open([one for one in transitions if one.what.change is Change.OPENED])
        self._remember(episodes)

    def _resolve(self, cleared: list[Happening]) -> None:
        if cleared:
            times = {one.key: to_datetime(one.what.ts) for one in cleared}
            event_services.resolve_cleared(cleared=times, now=self._now)

    def _open(self, openings: list[Happening]) -> None:
        if not openings:
            return
        told = [self._opening(one) for one in openings]
        opened = event_services.open_events(openings=told, now=self._now)
        for one in told:
            if one.key in opened:
                self.triggered[one.rule_id] = max(one.timestamp, self.triggered.get(one.rule_id, one.timestamp))

    def _remember(self, episodes: list[Happening]) -> None:
        """Episodes of the past, unless an event tells of them already."""
        if not episodes:
            return
        known = retroactive.known([(*one.key, one.what, one.terms.cooldown) for one in episodes])
        new = [one for place, one in enumerate(episodes) if place not in known]
        remembered = [(self._opening(one), to_datetime(one.what.end)) for one in new]
        event_services.remember_events(remembered=remembered, now=self._now)

    def _opening(self, one: Happening) -> Opening:
        return _opening(one, self._rules[one.rule_id], self._series[one.series_id])


def _opening(one: Happening, rule: Rule, series: DeviceMetric) -> Opening:
    at = to_datetime(one.what.ts)
    unit = series.unit or series.metric.unit
    says = one.terms.condition.describe(series.metric.name, unit)
    return Opening(
        rule_id=rule.pk,
        device_id=series.device_id,
        device_metric_id=series.pk,
        severity=rule.severity,
        message=f"{rule.name}: {says}, measured {one.what.measured} on {series.device.name}",
        timestamp=at,
        reading_ts=None if isinstance(one.terms.condition, (NoData, Several)) else at,
        actions=rule.action_config,
        metadata={
            "rule": {"name": rule.name, "condition": rule.condition},
            "reading": _reading(one, series, unit, at),
        },
        severity_after=escalation.of_rule(rule.severity_after, rule.severity),
    )


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
