"""The rules as a worker process knows them: read and compiled once, forgotten when they change.

`catch_up` asks the database what changed since it last asked, in the transaction that judges: a changed rule counts
from the next batch on. It asks for changes whose transaction had not ended when it last looked, so none is missed
whatever the order of commits; what its own, unfinished transaction changed is not kept beyond it.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from apps.rules import queries, terms
from apps.rules.machine import Terms
from apps.rules.models import Rule

MAX_SERIES = 200_000
# Changes are kept for hours; who has not looked for so long starts from nothing.
TRUSTED_SECONDS = 600

_CHANGES = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
           (SELECT array_agg(DISTINCT rule_id::text) FROM rule_changes WHERE xid >= %(xmin)s),
           (SELECT array_agg(DISTINCT coalesce(device_id::text, '')) FROM catalog_changes WHERE xid >= %(xmin)s),
           EXISTS (SELECT FROM rule_changes WHERE xid = pg_current_xact_id_if_assigned()::text::bigint)
           OR EXISTS (SELECT FROM catalog_changes WHERE xid = pg_current_xact_id_if_assigned()::text::bigint)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule on a series; `called` is the metric's name where the condition has several."""

    rule_id: UUID
    anchor: int
    called: str | None
    terms: Terms


class Book:
    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self._terms: dict[UUID, tuple[Terms, str]] = {}
        self._series: dict[int, tuple[Entry, ...]] = {}
        self._of_device: dict[UUID, set[int]] = defaultdict(set)
        self._xmin: int | None = None
        self._looked_at = 0.0
        self._keeps = True

    def catch_up(self) -> None:
        """In the transaction that judges, before anything else is asked of the book."""
        if not self._keeps or time.monotonic() - self._looked_at > TRUSTED_SECONDS:
            self.forget()
        looked_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(_CHANGES, {"xmin": self._xmin if self._xmin is not None else 2**62})
            xmin, rules, devices, own = cursor.fetchone()
        self._drop_rules(rules or ())
        self._drop_devices(devices or ())
        self._xmin, self._looked_at, self._keeps = xmin, looked_at, not own

    def entries(self, series_ids: list[int]) -> dict[int, tuple[Entry, ...]]:
        """The enabled rules of each series; none for a series that no rule judges."""
        missing = [series_id for series_id in series_ids if series_id not in self._series]
        if missing:
            self._load(missing)
        return {series_id: self._series.get(series_id, ()) for series_id in series_ids}

    def _load(self, series_ids: list[int]) -> None:
        if len(self._series) > MAX_SERIES:
            self._series.clear()
            self._of_device.clear()
        concerns = queries.rules_of_series(device_metric_ids=series_ids)
        self._load_rules({one.rule_id for listed in concerns.values() for one in listed})
        for series_id, listed in concerns.items():  # that no rule judges a series is not kept: nothing would end it
            self._series[series_id] = tuple(self._entry(one) for one in listed)
            for one in listed:
                self._of_device[one.device_id].add(series_id)

    def _load_rules(self, rule_ids: set[UUID]) -> None:
        missing = rule_ids - self._terms.keys()
        if not missing:
            return
        rows = Rule.objects.filter(pk__in=missing).select_related("metric").prefetch_related("other_metrics")
        for rule in rows:
            compiled = terms.terms_of(rule)
            others = {other.called for other in rule.other_metrics.all()}
            self._terms[rule.pk] = compiled, terms.own_name(rule, compiled.condition, others)

    def _entry(self, concern: queries.Concern) -> Entry:
        compiled, own_name = self._terms[concern.rule_id]
        return Entry(concern.rule_id, concern.anchor, concern.called or own_name, compiled)

    def _drop_rules(self, rule_ids) -> None:
        """Whom a changed rule concerns now is asked anew; the other rules stay compiled."""
        for rule_id in rule_ids:
            self._terms.pop(UUID(rule_id), None)
        if rule_ids:
            self._series.clear()
            self._of_device.clear()

    def _drop_devices(self, device_ids) -> None:
        if "" in device_ids:
            self._series.clear()
            self._of_device.clear()
            return
        for device_id in device_ids:
            for series_id in self._of_device.pop(UUID(device_id), ()):
                self._series.pop(series_id, None)
