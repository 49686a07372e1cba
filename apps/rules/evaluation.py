"""Judging what is in the outbox `watched_batches`.

All series of a device lie in one shard. Whoever holds a shard's advisory lock judges its batches in the
order in which they were stored, and commits states, events and the emptied outbox together: a worker
may die anywhere, and two may run at once, without an event lost or doubled.
"""

import logging
from datetime import datetime

import msgspec
from django.db import connection, transaction

from apps.rules.judging import Portion, judge, judge_portions
from apps.rules.locks import lock_shard
from apps.rules.terms import to_micros
from apps.telemetry.models import WatchedBatch

__all__ = ["evaluate_once", "evaluate_pending", "judge"]

logger = logging.getLogger(__name__)

BATCHES_AT_ONCE = 500

# A shard with nothing to judge is not in the answer, however many batches the others have.
_WAITING = """
    SELECT shard FROM generate_series(0, %s) AS shard
    WHERE EXISTS (SELECT FROM watched_batches AS b WHERE b.error = '' AND b.shard = shard)
"""


def evaluate_pending(*, now: datetime) -> int:
    """Judge everything that waits. Returns the number of batches judged.

    It looks again after the last shard: what came in while another worker held a lock must not wait for the sweeper.
    """
    judged = 0
    while count := evaluate_once(now=now):
        judged += count
    return judged


def evaluate_once(*, now: datetime) -> int:
    """One round over the shards that have something to judge. 0 if there is none, or others are at them all."""
    return sum(_evaluate_shard(shard, BATCHES_AT_ONCE, now) for shard in _waiting_shards())


def _waiting_shards() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [WatchedBatch.SHARDS - 1])
        return [shard for (shard,) in cursor.fetchall()]


def _evaluate_shard(shard: int, limit: int, now: datetime) -> int:
    try:
        return _judge_next(shard, limit, now)
    except Exception:
        if limit > 1:
            logger.exception("Shard %s failed; judging its batches one by one", shard)
            return _evaluate_shard(shard, 1, now)
        logger.exception("A batch of shard %s can't be judged; it is set aside", shard)
        return _set_aside(shard)


@transaction.atomic
def _judge_next(shard: int, limit: int, now: datetime) -> int:
    if not lock_shard(shard):
        return 0  # another worker is at it, and looks again when it is through
    batches = list(WatchedBatch.objects.filter(shard=shard, error="").order_by("id")[:limit])
    if batches:
        judge_portions(portions=[_unpack(batch) for batch in batches], now=now)
        WatchedBatch.objects.filter(pk__in=[batch.pk for batch in batches]).delete()
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


def _unpack(batch: WatchedBatch) -> Portion:
    """Within a batch samples lie sorted by time."""
    samples: dict[int, list] = {}
    series_ids, timestamps, values = msgspec.msgpack.decode(batch.payload)
    for series_id, ts, value in zip(series_ids, timestamps, values, strict=True):
        if series_id in samples:
            samples[series_id].append((ts, value))
        else:
            samples[series_id] = [(ts, value)]
    return Portion(samples, to_micros(batch.created_at))
