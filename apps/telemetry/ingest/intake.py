"""The way of a request through a web process, on callbacks of its event loop: a small one is decoded at once, a large
one by a thread; the writer commits it, and tells what became of it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from django.db import close_old_connections

from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.errors import Failed, IngestError, WouldBlock
from apps.telemetry.ingest.http import ANSWER_SECONDS, Request, Response, no_answer, refuse, service
from apps.telemetry.ingest.receipt import Receipt

logger = logging.getLogger(__name__)

# Larger bodies would hold up others in the event loop. One thread for them all: several would only take turns, and the
# first body would be done no sooner than the last.
INLINE_BODY_BYTES = 32 * 1024
_decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-decode")
# For requests that have to ask the database or Redis.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ingest")


@dataclass(slots=True, eq=False)
class Pending:
    """A request that has no answer yet. `reply` is called once, in the event loop's thread."""

    request: Request
    reply: Callable[[Response], None]

    def answer(self, outcome: Receipt | Exception) -> None:
        try:
            response = service.answer(self.request, outcome)
        except Exception:
            logger.exception("An ingest request failed")
            response = refuse(self.request.format, Failed("The hub failed on this request; its log has the details."))
        self.reply(response)


class Intake:
    """Takes requests in. All methods belong to the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._mailbox = Mailbox(loop)

    def take(self, request: Request, reply: Callable[[Response], None]) -> None:
        pending = Pending(request, reply)
        self._mailbox.expect(pending)
        if len(request.body) <= INLINE_BODY_BYTES:
            self._go_on(pending, _prepared(request, may_block=False))
        else:
            self._prepare_in(_decoder, pending, may_block=False)

    def _prepare_in(self, threads: Executor, pending: Pending, *, may_block: bool) -> None:
        work = self._loop.run_in_executor(threads, partial(_prepared, pending.request, may_block=may_block))
        work.add_done_callback(lambda work: self._go_on(pending, work.result()))

    def _go_on(self, pending: Pending, prepared: Batch | Exception) -> None:
        if isinstance(prepared, WouldBlock):
            self._prepare_in(_threads, pending, may_block=True)
        elif isinstance(prepared, Exception):
            self._mailbox.hand_over(pending, prepared)
        elif self._mailbox.expects(pending):  # else it was told that nothing is known; it will come again
            try:
                service.submit(prepared, partial(self._mailbox.post, pending))
            except IngestError as error:
                self._mailbox.hand_over(pending, error)


def _prepared(request: Request, *, may_block: bool) -> Batch | Exception:
    try:
        return service.prepare(request, may_block=may_block)
    except Exception as error:
        return error
    finally:
        if may_block:
            close_old_connections()


class Mailbox:
    """From the writer's threads to the event loop. A commit answers many requests, and waking the loop costs more
    than answering one: it is woken once for all of them. Nor has each request a timer of its own: all wait equally
    long, so those who came first are given up first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._letters: deque[tuple[Pending, Receipt | Exception]] = deque()
        self._is_told = False
        # Until when each is waited for, the oldest first.
        self._awaited: dict[Pending, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, addressee: Pending) -> None:
        """It is answered with what is posted or handed over first, or that there is no answer."""
        self._awaited[addressee] = until = self._loop.time() + ANSWER_SECONDS
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._give_up)

    def expects(self, addressee: Pending) -> bool:
        return addressee in self._awaited

    def post(self, addressee: Pending, outcome: Receipt | Exception) -> None:
        """From any thread."""
        self._letters.append((addressee, outcome))
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._deliver)

    def hand_over(self, addressee: Pending, outcome: Receipt | Exception) -> None:
        """In the event loop's thread."""
        if self._awaited.pop(addressee, None) is not None:
            addressee.answer(outcome)

    def _deliver(self) -> None:
        # Before the letters are taken: one that comes after the last was taken rings again.
        self._is_told = False
        while self._letters:
            self.hand_over(*self._letters.popleft())

    def _give_up(self) -> None:
        now, self._timer = self._loop.time(), None
        while self._awaited:
            addressee, until = next(iter(self._awaited.items()))
            if until > now:
                self._timer = self._loop.call_at(until, self._give_up)
                return
            self.hand_over(addressee, no_answer())
