"""An export as the body of an answer: a thread copies into a short queue, the server takes from it.

The queue holds little, so a slow client slows the database down rather than filling memory; a client that is gone ends
the query. Django's ASGI handler would collect a plain iterator whole before sending it, so it is given one of its kind.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from django.db import connection

from apps.telemetry.export.copying import export
from apps.telemetry.export.forms import Order

QUEUED_BLOCKS = 4
# Each has a connection and a thread of its own.
AT_ONCE = 4
_running = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """As many exports as there may be at once are running in this process."""


class Gone(Exception):
    """Nobody takes the export any more."""


class _Pipe:
    """What is written in one thread is read in another. The end is None, or the error that ended it."""

    def __init__(self):
        self._blocks: queue.Queue = queue.Queue(QUEUED_BLOCKS)
        self._gone = threading.Event()

    def write(self, block: bytes) -> int:
        if block:
            self._put(block)
        return len(block)

    def finish(self, error: Exception | None) -> None:
        with suppress(Gone):
            self._put(error)

    def read_block(self) -> bytes | None:
        block = self._blocks.get()
        if isinstance(block, Exception):
            raise block
        return block

    def abandon(self) -> None:
        """Nobody waits on either side after this."""
        self._gone.set()
        with suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()
        with suppress(queue.Full):
            self._blocks.put_nowait(None)

    def _put(self, block) -> None:
        while not self._gone.is_set():
            with suppress(queue.Full):
                return self._blocks.put(block, timeout=0.2)
        raise Gone


class Running:
    """An export that has begun. Django closes it after the answer, sent or not."""

    def __init__(self, order: Order, *, gzip: bool):
        if not _running.acquire(blocking=False):
            raise Busy
        self._pipe, self._backend, self._lock = _Pipe(), None, threading.Lock()
        self._thread = threading.Thread(target=self._copy, args=(order, gzip), name="export", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The query is cancelled if it is still running; the thread then finds the pipe abandoned."""
        self._pipe.abandon()
        with self._lock:
            if self._backend is not None:
                self._backend.cancel()

    def _copy(self, order: Order, gzip: bool) -> None:
        error = None
        try:
            connection.ensure_connection()
            with self._lock:
                self._backend = connection.connection
            export(order, self._pipe, gzip=gzip)
        except Exception as failure:  # whoever reads is to know, whatever it was
            error = failure
        finally:
            with self._lock:
                self._backend = None
            connection.close()
            _running.release()
            self._pipe.finish(error)


class Streamed(Running):
    """For a server that iterates."""

    def __iter__(self) -> Iterator[bytes]:
        while (block := self._pipe.read_block()) is not None:
            yield block


class AsyncStreamed(Running):
    """For one that iterates asynchronously."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (block := await asyncio.to_thread(self._pipe.read_block)) is not None:
                yield block
        finally:
            self.close()
