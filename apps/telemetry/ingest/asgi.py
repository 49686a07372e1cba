"""The fast edge: takes ingest requests ahead of Django, and passes everything else on to it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from urllib.parse import parse_qs

from django.conf import settings
from django.db import close_old_connections

from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.errors import Failed, IngestError, WouldBlock
from apps.telemetry.ingest.formats import Format
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.formats.line_protocol import V1_UNITS, LineProtocol
from apps.telemetry.ingest.http import (
    ANSWER_SECONDS,
    Request,
    Response,
    authorization_of,
    no_answer,
    refuse,
    service,
    too_large,
)
from apps.telemetry.ingest.receipt import Receipt

logger = logging.getLogger(__name__)

# The form of a path's bodies, from the parameters of the query.
PATHS: dict[str, Callable[[dict], Format]] = {
    "/api/v1/telemetry/": lambda query: JSON,
    "/api/v2/write": lambda query: LineProtocol(query.get("precision", "")),
    "/write": lambda query: LineProtocol(query.get("precision", ""), V1_UNITS),
}
JSON = JsonMessages()
# Where the key may stand in the URL, which ends up in logs: only where clients can't do otherwise.
KEY_IN_QUERY = {"/write"}

# Larger bodies would hold up others in the event loop. One thread for them all: several would only take turns, and the
# first body would be done no sooner than the last.
INLINE_BODY_BYTES = 32 * 1024
_decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-decode")
# For requests that have to ask the database or Redis.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ingest")


def ahead_of(application):
    """An ASGI application that answers ingest itself and leaves the rest to `application`."""

    async def entry(scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in PATHS:
            await _ingest(scope, receive, send)
        else:
            await application(scope, receive, send)

    return entry


async def _ingest(scope, receive, send) -> None:
    path, query = scope["path"], _query_of(scope)
    form = PATHS[path](query)
    headers = dict(scope["headers"])
    try:
        body = await _read(receive, headers.get(b"content-length", b""))
        if body is None:
            return  # the client is gone
        authorization = _text(headers, b"authorization")
        request = Request(
            format=form,
            body=body,
            authorization=authorization_of(authorization, query) if path in KEY_IN_QUERY else authorization,
            content_type=_text(headers, b"content-type"),
            content_encoding=_text(headers, b"content-encoding"),
            on_conflict=query.get("on_conflict", ""),
        )
        response = await _answer(request)
    except IngestError as error:
        response = refuse(form, error)
    except Exception:
        logger.exception("An ingest request failed")
        response = refuse(form, Failed("The hub failed on this request; its log has the details."))
    await _send(send, response)


def _query_of(scope) -> dict[str, str]:
    raw = scope["query_string"]
    return {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()} if raw else {}


def _text(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


async def _answer(request: Request) -> Response:
    try:
        batch = await _prepared(request)
        loop = asyncio.get_running_loop()
        mailbox, outcome = _mailbox(loop), loop.create_future()
        service.submit(batch, partial(mailbox.post, outcome))
        mailbox.expect(outcome)  # only now: nobody waits for what was refused
        return service.answer(request, await outcome)
    except TimeoutError:
        return service.answer(request, no_answer())
    except IngestError as error:
        return service.answer(request, error)


async def _prepared(request: Request) -> Batch:
    loop = asyncio.get_running_loop()
    prepare = partial(service.prepare, request, may_block=False)
    try:
        if len(request.body) <= INLINE_BODY_BYTES:
            return prepare()
        return await asyncio.wait_for(loop.run_in_executor(_decoder, prepare), ANSWER_SECONDS)
    except WouldBlock:
        return await asyncio.wait_for(loop.run_in_executor(_threads, _prepare_blocking, request), ANSWER_SECONDS)


def _prepare_blocking(request: Request) -> Batch:
    try:
        return service.prepare(request, may_block=True)
    finally:
        close_old_connections()


class Mailbox:
    """From the writer's threads to the event loop. A commit answers many requests, and waking the loop costs more
    than answering one: it is woken once for all of them. Nor has each request a timer of its own: all wait equally
    long, so those who came first are given up first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._letters: deque[tuple[asyncio.Future, Receipt | Exception]] = deque()
        self._is_told = False
        # Until when each is waited for, the oldest first.
        self._awaited: dict[asyncio.Future, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, outcome: asyncio.Future) -> None:
        """It is given what will be posted to it, or TimeoutError after ANSWER_SECONDS. In the event loop's thread."""
        self._awaited[outcome] = until = self._loop.time() + ANSWER_SECONDS
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._give_up)

    def post(self, addressee: asyncio.Future, outcome: Receipt | Exception) -> None:
        """From any thread."""
        self._letters.append((addressee, outcome))
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before the letters are taken: one that comes after the last was taken rings again.
        self._is_told = False
        while self._letters:
            addressee, outcome = self._letters.popleft()
            self._awaited.pop(addressee, None)
            if not addressee.done():  # the client may have left meanwhile
                addressee.set_result(outcome)

    def _give_up(self) -> None:
        now, self._timer = self._loop.time(), None
        while self._awaited:
            outcome, until = next(iter(self._awaited.items()))
            if until > now:
                self._timer = self._loop.call_at(until, self._give_up)
                return
            del self._awaited[outcome]
            if not outcome.done():
                outcome.set_exception(TimeoutError())


@cache
def _mailbox(loop: asyncio.AbstractEventLoop) -> Mailbox:
    return Mailbox(loop)


async def _read(receive, content_length: bytes) -> bytes | None:
    """The body, or None where the client left. A body over the limit is read to its end and not kept:
    a client that is still sending would not see the answer.
    """
    limit = settings.TELEMETRY["MAX_BODY_BYTES"]
    announced = int(content_length) if content_length.isdigit() else 0
    parts, size = [], 0
    if announced > 8 * limit:
        raise too_large()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= limit and announced <= limit:
            parts.append(part)
        elif size > 8 * limit:
            raise too_large()
        if not message.get("more_body"):
            break
    if size > limit:
        raise too_large()
    return b"".join(parts) if len(parts) != 1 else parts[0]


async def _send(send, response: Response) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    if response.status != 204:  # which has no body, nor anything that describes one
        headers += [
            (b"content-type", response.content_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
        ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
