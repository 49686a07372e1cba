"""The clock of `no_data` rules: a sweep that opens events where nothing came in for too long.

The row is the queue: `rule_states.due_at` is when a series will have been silent for too long. Judging a reading moves
it on; here it is looked at under the same lock of the shard, so whatever runs twice opens once.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min

from apps.rules import happenings, judging, machine, states
from apps.rules.conditions import NoData
from apps.rules.conditions.silence import INTERVALS
from apps.rules.happenings import Happening
from apps.rules.locks import lock_shard, share_rules
from apps.rules.machine import State, Terms
from apps.rules.queries import SUBJECT
from apps.rules.states import Key
from apps.rules.terms import to_micros
from apps.telemetry.models import Reading, WatchedBatch

AT_ONCE = 5000
# A batch counts from the beginning of the transaction that brings it, and is seen at its end.
COMMIT_LAG = timedelta(seconds=2)

_UNWATCHED = f"""
    SELECT r.id, dm.id, d.id
    FROM rules r
    JOIN devices d ON d.status = 'active' AND {SUBJECT}
    JOIN device_metrics dm ON dm.device_id = d.id AND dm.metric_id = r.metric_id
    WHERE r.is_enabled AND r.condition ->> 'type' = 'no_data'
      AND NOT EXISTS (SELECT FROM rule_states s WHERE s.rule_id = r.id AND s.device_metric_id = dm.id)
    LIMIT %s
"""
_DUE = """
    SELECT s.rule_id, s.device_metric_id, dm.device_id, d.status = 'active'
    FROM rule_states s
    JOIN device_metrics dm ON dm.id = s.device_metric_id
    JOIN devices d ON d.id = dm.device_id
    WHERE s.due_at <= %s ORDER BY s.due_at LIMIT %s
"""


def check(*, now: datetime) -> int:
    """Begin to watch what no state is kept of yet, and open what is due. Returns the number of events opened."""
    for shard, keys in _by_shard(_UNWATCHED, [AT_ONCE]).items():
        _begin(shard, list(keys), now)
    due = _by_shard(_DUE, [now - COMMIT_LAG, AT_ONCE])
    return sum(_check_shard(shard, keys, now) for shard, keys in due.items())


def _by_shard(sql: str, params: list) -> dict[int, dict[Key, bool]]:
    """Keys by shard, each with whether its device is active."""
    shards: dict[int, dict[Key, bool]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        for rule_id, series_id, device_id, *active in cursor.fetchall():
            shards[WatchedBatch.shard_of(device_id)][rule_id, series_id] = all(active)
    return shards


@transaction.atomic
def _begin(shard: int, keys: list[Key], now: datetime) -> None:
    """Silence counts from the last reading, and the rhythm is learned from the latest ones."""
    if not lock_shard(shard):
        return
    share_rules()
    terms, found = _terms(keys), states.load(keys)
    fresh = {key: found[key] for key in terms if not found[key].memory}
    for key, state in fresh.items():
        _learn(state, terms[key], key[1], to_micros(now))
    states.save(fresh, terms)


def _learn(state: State, terms: Terms, series_id: int, now: int) -> None:
    rows = Reading.objects.filter(device_metric=series_id).order_by("-ts")[: INTERVALS + 1]
    for row in reversed(rows):
        machine.hear(state, terms, [(to_micros(row.ts), row.value)], min(now, to_micros(row.received_at)))
    state.memory.setdefault("seen", now)
    state.memory["from"] = now


@transaction.atomic
def _check_shard(shard: int, keys: dict[Key, bool], now: datetime) -> int:
    if not lock_shard(shard):
        return 0
    share_rules()
    clock = to_micros(_clock(shard, now))
    terms, found = _terms(list(keys)), states.load(list(keys))
    happened = []
    for key in states.in_order(terms):
        if not keys[key]:
            found[key].memory["seen"] = clock  # a device that is put out of use is not expected to say anything
        elif (transition := machine.tick(found[key], terms[key], clock)) is not None:
            happened.append(Happening(*key, transition, terms[key]))
    happenings.record(happened, now=now)
    states.save({key: found[key] for key in terms}, terms)
    return len(happened)


def _clock(shard: int, now: datetime) -> datetime:
    """As far as is known what came in: batches that wait to be judged may hold what one would miss."""
    oldest = WatchedBatch.objects.filter(shard=shard, error="").aggregate(at=Min("created_at"))["at"]
    return min(now - COMMIT_LAG, oldest or now)


def _terms(keys: list[Key]) -> dict[Key, Terms]:
    """Of rules that are there and enabled, and still of this kind."""
    wanted: set[tuple[UUID, int]] = set(keys)
    found = {}
    for series_id, entries in judging.book().entries([series_id for _, series_id in keys]).items():
        for entry in entries:
            if (entry.rule_id, series_id) in wanted and isinstance(entry.terms.condition, NoData):
                found[entry.rule_id, series_id] = entry.terms
    return found
