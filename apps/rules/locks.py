"""Advisory locks: one worker to a shard, and no rule changes while it is judged."""

from django.db import connection

LOCK_SPACE = 0x10_7B  # first key; the second is the shard
RULES = 0x10_7C_00_00_00

# One after the other, and only until there are enough: CASE keeps those free that have nothing to judge.
_LOCK_WAITING = """
    SELECT one FROM unnest(%(shards)s) AS one
    WHERE CASE WHEN EXISTS (SELECT FROM watched_batches WHERE shard = one AND error = '')
               THEN pg_try_advisory_xact_lock(%(space)s, one) END
    LIMIT %(limit)s
"""


def lock_shard(shard: int) -> bool:
    """Until the end of the transaction; False if another worker has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_SPACE, shard])
        return cursor.fetchone()[0]


def lock_waiting_shards(shards: list[int], *, limit: int) -> list[int]:
    """Until the end of the transaction: at most `limit` that have something to judge, and that no other worker has."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_WAITING, {"shards": shards, "space": LOCK_SPACE, "limit": limit})
        return [shard for (shard,) in cursor.fetchall()]


def share_rules() -> None:
    """Rules stay as they are until the end of the transaction. Workers share this with each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [RULES])


def own_rules() -> None:
    """Wait until nobody judges, and keep everybody from it until the end of the transaction.

    To be taken before any row is locked: who judges may be waiting for that row.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RULES])
