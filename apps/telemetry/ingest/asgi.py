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

# For requests that have to ask the database, and for bodies so large that decoding them would hold up others.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ingest")


def ahead_of(application):
    """An ASGI application that answers ingest itself and leaves the rest to `application`."""

    async def entry(scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in PATHS:
            query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
            await _ingest(scope, receive, send, query)
        else:
            await application(scope, receive, send)

    return entry


async def _ingest(scope, receive, send, query: dict[str, str]) -> None:
    form = PATHS[scope["path"]](query)
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        body = await _read(receive, headers.get(b"content-length", ""))
        if body is None:
            return  # the client is gone
        request = Request(
            format=form,
            body=body,
            authorization=authorization_of(
                headers.get(b"authorization", ""), query if scope["path"] in KEY_IN_QUERY else {}
            ),
            content_type=headers.get(b"content-type", ""),
            content_encoding=headers.get(b"content-encoding", ""),
            on_conflict=query.get("on_conflict", ""),
        )
        response = await _answer(request)
    except IngestError as error:
        response = refuse(form, error)
    except Exception:
        logger.exception("An ingest request failed")
        response = refuse(form, Failed("The hub failed on this request; its log has the details."))
    await _send(send, response)


async def _answer(request: Request) -> Response:
    loop = asyncio.get_running_loop()
    try:
        try:
            batch = service.prepare(request, may_block=False)
        except WouldBlock:
            prepared = loop.run_in_executor(_threads, _prepare_blocking, request)
            batch = await asyncio.wait_for(prepared, ANSWER_SECONDS)
        outcome = loop.create_future()
        service.submit(batch, partial(_mailbox(loop).post, outcome))
        return service.answer(request, await asyncio.wait_for(outcome, ANSWER_SECONDS))
    except TimeoutError:
        return service.answer(request, no_answer())
    except IngestError as error:
        return service.answer(request, error)


def _prepare_blocking(request: Request) -> Batch:
    try:
        return service.prepare(request, may_block=True)
    finally:
        close_old_connections()


class Mailbox:
    """From the writer's thread to the event loop. A commit answers many requests, and waking the loop costs more
    than answering one: it is woken once for all of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._letters: deque[tuple[asyncio.Future, Receipt | Exception]] = deque()
        self._is_told = False

    def post(self, addressee: asyncio.Future, outcome: Receipt | Exception) -> None:
        self._letters.append((addressee, outcome))
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before the letters are taken: one that comes after the last was taken rings again.
        self._is_told = False
        while self._letters:
            addressee, outcome = self._letters.popleft()
            if not addressee.done():  # the client may have left meanwhile
                addressee.set_result(outcome)


@cache
def _mailbox(loop: asyncio.AbstractEventLoop) -> Mailbox:
    return Mailbox(loop)


async def _read(receive, content_length: str) -> bytes | None:
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
