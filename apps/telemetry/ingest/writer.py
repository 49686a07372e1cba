"""Group commit: a thread takes everything that waits and commits it as one, and while it is at it a second thread takes
what has come in since, if that is much.

A caller hands in a batch and is told after the commit, so an answer always speaks of what is on disk.
The queue is bounded in readings; when it is full, callers are told to come back.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain

import psycopg2
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from apps.telemetry.ingest import metrics, presence, store
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.errors import Busy, IngestError
from apps.telemetry.ingest.options import OPTIONS
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.rollups import log as rollup_log

logger = logging.getLogger(__name__)

GROUP_READINGS = 50_000
# Less than that is not worth a second thread, and better left to join the next group: a small commit costs nearly as
# much as a large one.
WORTH_A_SECOND = 3_000
# So few are inserted in one round trip with all the rest; COPY takes three more.
FEW_READINGS = 300
RETRY_AFTER_SECONDS = 2

_AWAY = (OperationalError, InterfaceError, psycopg2.OperationalError, psycopg2.InterfaceError)
_REFUSED = (DatabaseError, psycopg2.DatabaseError)

# Told, in the writer's thread, what became of a batch. Must not wait, nor fail.
Done = Callable[[Receipt | Exception], None]


class Writer:
    """`submit` from any thread. After a commit `on_stored` is given what was stored, and `on_watched` is called where
    rules watch some of it. Neither may wait for anything.
    """

    def __init__(self, on_watched: Callable[[], None], on_stored: Callable[[store.Columns | list[store.Row]], None]):
        self._on_watched = on_watched
        self._on_stored = on_stored
        self._waiting: deque[tuple[Batch, Done]] = deque()
        self._queued = 0
        self._storing = 0
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []

    def submit(self, batch: Batch, done: Done) -> None:
        """`done` is told after the commit, or with Busy when the store is away. Raises Busy when it is behind."""
        with self._wake:
            if self._queued and self._queued + _weight(batch) > OPTIONS["MAX_QUEUED_READINGS"]:
                raise Busy("The store is behind; nothing was stored.", retry_after=RETRY_AFTER_SECONDS)
            self._waiting.append((batch, done))
            self._queued += _weight(batch)
            if self._is_due:
                self._call_a_thread()

    def _call_a_thread(self) -> None:
        if len(self._threads) <= self._storing and len(self._threads) < OPTIONS["WRITER_THREADS"]:
            self._threads.append(threading.Thread(target=self._run, name="telemetry-writer", daemon=True))
            self._threads[-1].start()
        self._wake.notify()

    def close_connections(self) -> None:
        """Have the threads end and their connections closed; the next batch starts others."""
        with self._wake:
            threads, self._threads = self._threads, []
            self._wake.notify_all()
        for thread in threads:
            thread.join()

    @property
    def _is_due(self) -> bool:
        """Whether a thread should take what waits."""
        return bool(self._waiting) and (not self._storing or self._queued >= WORTH_A_SECOND)

    def _run(self) -> None:
        me = threading.current_thread()
        while (group := self._next_group(me)) is not None:
            try:
                self._store(group)
            except Exception:  # of those who are told; the thread has to live on for the others
                logger.exception("Telling of a stored group failed")
            with self._wake:
                self._storing -= 1
        connection.close()

    def _next_group(self, me: threading.Thread) -> list[tuple[Batch, Done]] | None:
        with self._wake:
            while not self._is_due:
                if me not in self._threads:
                    return None
                self._wake.wait()
            group, readings = [], 0
            while self._waiting and (not group or readings < GROUP_READINGS):
                group.append(self._waiting.popleft())
                readings += _weight(group[-1][0])
            self._queued -= readings
            self._storing += 1
            if self._is_due:
                self._call_a_thread()
        return group

    def _store(self, group: list[tuple[Batch, Done]]) -> None:
        """Every caller of the group is told, whatever happens."""
        batches = [batch for batch, _ in group]
        try:
            with metrics.committing(batches, queued=self._queued):
                stored = self._commit(batches)
        except _REFUSED + _AWAY as error:
            self._store_failed(group, error)
            return
        except Exception as error:
            logger.exception("Storing a group of %s batches failed", len(group))
            _fail(group, error)
            return
        for batch, done in group:
            done(batch.receipt)
        if any(batch.watched for batch in batches):
            self._on_watched()
        if len(stored):
            self._on_stored(stored)

    def _store_failed(self, group: list[tuple[Batch, Done]], error: Exception) -> None:
        presence.give_back(_heard(batch for batch, _ in group))
        if isinstance(error, _AWAY):
            logger.warning("The store is away: %s", error)
            connection.close()
            # It may have gone after the commit and before it said so.
            detail = "The store went away: what was sent may be stored or not. Send it again."
            _fail(group, Busy(detail, retry_after=RETRY_AFTER_SECONDS))
        elif len(group) > 1:
            # One of them is bad: its neighbours must not pay for it.
            for one in group:
                self._store([one])
        else:
            logger.error("The store refused a batch: %s", error)
            _fail(group, IngestError(f"The store refused the readings: {error}"))

    def _commit(self, batches: list[Batch]) -> store.Columns | list[store.Row]:
        heard = presence.taken(_heard(batches), time.monotonic())
        try:
            return self._commit_once(batches, heard)
        except _AWAY:
            # The connection may have died while idle. Storing again is safe: what is there is not stored twice.
            connection.close()
            return self._commit_once(batches, heard)

    def _commit_once(self, batches: list[Batch], heard: list[presence.Heard]) -> store.Columns | list[store.Row]:
        """What was stored, in the order in which it counts."""
        columns = store.columns_of(batches)
        if not columns.has_repeats:
            try:
                _store_all(batches, columns, heard)
                return columns
            except psycopg2.errors.UniqueViolation:
                pass  # some are there already: now it has to be found out which
        with transaction.atomic(), connection.cursor() as cursor:
            inserted, watched = _insert_new(cursor.cursor, [batch for batch in batches if not batch.overwrite])
            written, also_watched = _upsert(cursor.cursor, [batch for batch in batches if batch.overwrite])
            cursor.cursor.execute(_together(cursor.cursor, columns, watched + also_watched, heard))
        return inserted + written


def _together(cursor, columns: store.Columns, watched: list[tuple], heard: list[presence.Heard]) -> bytes:
    """The statements for what has to be true together with the readings."""
    statements = []
    if watched:
        statements.append(store.adding_watched(cursor, watched))
    if heard:
        statements.append(presence.writing(cursor, heard, time.time()))
    return b";".join([*statements, rollup_log.noting(*columns.keys)])


def _heard(batches: Iterable[Batch]) -> Iterator[presence.Presence]:
    return chain.from_iterable(batch.heard for batch in batches)


def _weight(batch: Batch) -> int:
    """A batch that only tells of its devices takes its place too."""
    return len(batch) or 1


def _fail(group: list[tuple[Batch, Done]], error: Exception) -> None:
    for _, done in group:
        done(error)


def _store_all(batches: list[Batch], columns: store.Columns, heard: list[presence.Heard]) -> None:
    """The fast way, in the belief that every row is new. All is made ready before the transaction, which takes one
    round trip, or four with COPY: after each the thread waits for the interpreter, and PostgreSQL for the thread.
    """
    with connection.cursor() as wrapped:
        cursor = wrapped.cursor
        watched = [watched for batch in batches for watched in batch.watched]
        rest = _together(cursor, columns, watched, heard) + b";COMMIT"
        is_small = len(columns) <= FEW_READINGS and not columns.others
        readings = store.beginning_and_inserting(columns) if is_small else store.packed(columns)
        try:
            if is_small:
                cursor.execute(readings + rest)
            else:
                store.begin_and_copy(cursor, readings)
                cursor.execute(rest)
        except Exception:
            with suppress(*_AWAY):
                cursor.execute("ROLLBACK")
            raise
    for batch in batches:
        batch.receipt.accepted = len(batch)


def _insert_new(cursor, batches: list[Batch]) -> tuple[list[store.Row], list[tuple]]:
    """Some rows are there already, or twice in the group: the first one counts, the others are duplicates.
    Returns what was stored, and the watched readings of it.
    """
    rows, owners = _distinct(batches, keep_last=False)
    if not rows:
        return [], []
    stored = store.insert_new(cursor, rows)
    watched = []
    for batch, own in zip(batches, _by_owner(batches, owners, rows), strict=True):
        keys = {key for key, seq in own.items() if seq in stored}
        batch.receipt.accepted = len(keys)
        batch.receipt.duplicates = len(batch) - len(keys)
        watched += _watched_of(batch, keys)
    return [row for seq, row in enumerate(rows) if seq in stored], watched


def _upsert(cursor, batches: list[Batch]) -> tuple[list[store.Row], list[tuple]]:
    """The last of equals counts; whatever was there before counts as updated. Returns the same."""
    rows, owners = _distinct(batches, keep_last=True)
    if not rows:
        return [], []
    known = store.upsert(cursor, rows)
    watched = []
    for batch, own in zip(batches, _by_owner(batches, owners, rows), strict=True):
        batch.receipt.accepted = sum(seq not in known for seq in own.values())
        batch.receipt.updated = len(batch) - batch.receipt.accepted
        watched += _watched_of(batch, own.keys())
    return rows, watched


def _distinct(batches: list[Batch], *, keep_last: bool) -> tuple[list[store.Row], list[int]]:
    """One row per key, sorted by key, and to which batch each belongs."""
    chosen: dict[tuple[int, int], tuple[store.Row, int]] = {}
    for owner, batch in enumerate(batches):
        for row in store.rows_of([batch]):
            if keep_last or row[:2] not in chosen:
                chosen[row[:2]] = (row, owner)
    ordered = [chosen[key] for key in sorted(chosen)]
    return [row for row, _ in ordered], [owner for _, owner in ordered]


def _by_owner(batches: list[Batch], owners: list[int], rows: list[store.Row]) -> list[dict[tuple, int]]:
    """For each batch its rows' places by key."""
    places: list[dict[tuple, int]] = [{} for _ in batches]
    for seq, (owner, row) in enumerate(zip(owners, rows, strict=True)):
        places[owner][row[:2]] = seq
    return places


def _watched_of(batch: Batch, keys) -> list[tuple]:
    """The watched readings that were stored; of equal ones in a request, the one that was."""
    by_key = {}
    for watched in batch.watched:
        key = watched[1:3]
        if key in keys and (batch.overwrite or key not in by_key):
            by_key[key] = watched
    return list(by_key.values())
