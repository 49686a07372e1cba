"""Judging what is in the outbox `watched_batches`.

All series of a device lie in one shard. Whoever holds a shard's advisory lock judges its batches in the
order in which they were stored, and commits states, events and the emptied outbox together: a worker
may die anywhere, and several may run at once, without an event lost or doubled.

A pass takes all shards that wait and are free, as its transaction costs more than judging a few readings. Where much
waits it leaves most of them to other workers.
"""

import logging
from collections import defaultdict
from datetime import datetime
from secrets import randbelow

import msgspec
from django.db import connection, transaction

from apps.rules.judging import Portion, judge, judge_portions
from apps.rules.locks import lock_shard, lock_waiting_shards
from apps.rules.terms import to_micros
from apps.telemetry.models import WatchedBatch

__all__ = ["evaluate_once", "evaluate_pending", "judge"]

logger = logging.getLogger(__name__)

# Of a shard.
BATCHES_AT_ONCE = 100
# Of payloads: 100,000 readings, a third of a second.
BYTES_AT_ONCE = 2_000_000
# Of the shards that a worker takes where more waits than one pass can judge.
SHARE = 4

_MUCH_WAITS = """
    SELECT coalesce(sum(octet_length(payload)) > %s, false)
    FROM (SELECT payload FROM watched_batches WHERE error = '' LIMIT 1000) AS waiting
"""
# Of each shard what came in first, and of all together as much as one pass may hold.
_NEXT = """
    SELECT id, payload, created_at FROM (
        SELECT batch.*, sum(octet_length(payload)) OVER (ORDER BY id) - octet_length(payload) AS before
        FROM unnest(%(shards)s) AS one, LATERAL (
            SELECT id, payload, created_at FROM watched_batches
            WHERE shard = one AND error = '' ORDER BY id LIMIT %(limit)s
        ) AS batch
    ) AS waiting
    WHERE before < %(bytes)s ORDER BY id
"""


def evaluate_pending(*, now: datetime) -> int:
    """Judge everything that waits. Returns the number of batches judged.

    It looks again after the last pass: what came in while another worker held a lock must not wait for the sweeper.
    """
    judged = 0
    while count := evaluate_once(now=now):
        judged += count
    return judged


def evaluate_once(*, now: datetime) -> int:
    """One pass over the shards that have something to judge. 0 if there is none, or others are at them all."""
    try:
        return _judge_next(_in_turn(), BATCHES_AT_ONCE, now)
    except Exception:
        logger.exception("A pass failed; judging its shards one by one")
        return sum(_judge_shard(shard, now) for shard in _in_turn())


def _in_turn() -> list[int]:
    """All shards, beginning anywhere, so that workers who leave some to others take each in turn."""
    first = randbelow(WatchedBatch.SHARDS)
    return [(first + place) % WatchedBatch.SHARDS for place in range(WatchedBatch.SHARDS)]


def _judge_shard(shard: int, now: datetime) -> int:
    try:
        return _judge_next([shard], BATCHES_AT_ONCE, now)
    except Exception:
        logger.exception("Shard %s failed; judging its batches one by one", shard)
        return _judge_one_by_one(shard, now)


def _judge_one_by_one(shard: int, now: datetime) -> int:
    """Until one can't be judged or nothing is left."""
    judged = 0
    try:
        while judged < BATCHES_AT_ONCE and _judge_next([shard], 1, now):
            judged += 1
        return judged
    except Exception:
        logger.exception("A batch of shard %s can't be judged; it is set aside", shard)
        return judged + _set_aside(shard)


def _judge_next(shards: list[int], limit: int, now: datetime) -> int:
    """Of each of `shards` at most `limit` batches."""
    judged = None
    while judged is None:
        judged = _try_next(shards, limit, now)
    return judged


@transaction.atomic
def _try_next(shards: list[int], limit: int, now: datetime) -> int | None:
    """None if another worker was through with them just before they were locked.

    Whoever found them locked since then left them to us: what came in meanwhile has to be looked for again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MUCH_WAITS, [BYTES_AT_ONCE])
        (much_waits,) = cursor.fetchone()
        locked = lock_waiting_shards(shards, limit=SHARE if much_waits else len(shards))
        if not locked:
            return 0
        cursor.execute(_NEXT, {"shards": locked, "limit": limit, "bytes": BYTES_AT_ONCE})
        batches = cursor.fetchall()
        if not batches:
            return None
        judge_portions(portions=[_unpack(payload, created_at) for _, payload, created_at in batches], now=now)
        cursor.execute("DELETE FROM watched_batches WHERE id = ANY(%s)", [[pk for pk, _, _ in batches]])
    return len(batches)


@transaction.atomic
def _set_aside(shard: int) -> int:
    if not lock_shard(shard):
        return 0
    first = WatchedBatch.objects.filter(shard=shard, error="").order_by("id").first()
    if first is None:
        return 0
    first.error = "could not be judged; the worker's log has the reason"
    first.save(update_fields=["error"])
    return 1


def _unpack(payload: bytes, created_at: datetime) -> Portion:
    """Within a batch samples lie sorted by time."""
    samples: dict[int, list] = defaultdict(list)
    series_ids, timestamps, values = msgspec.msgpack.decode(payload)
    for series_id, ts, value in zip(series_ids, timestamps, values, strict=True):
        samples[series_id].append((ts, value))
    return Portion(samples, to_micros(created_at))
