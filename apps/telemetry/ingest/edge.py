"""The fast edge: ingest requests are taken where their bytes are parsed, ahead of ASGI and Django; all others go on to
those. From socket to socket uvicorn's parser and event loop cost 13 µs a request, and 42 µs with a coroutine and the
messages of ASGI around them.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import cache, partial
from urllib.parse import parse_qs

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from apps.telemetry.ingest.formats import Format
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.formats.line_protocol import V1_UNITS, LineProtocol
from apps.telemetry.ingest.http import Request, Response, authorization_of, refuse, too_large
from apps.telemetry.ingest.intake import Intake
from apps.telemetry.ingest.options import OPTIONS

logger = logging.getLogger(__name__)

# The form of a path's bodies, from the parameters of the query.
PATHS: dict[bytes, Callable[[dict], Format]] = {
    b"/api/v1/telemetry/": lambda query: JSON,
    b"/api/v2/write": lambda query: LineProtocol(query.get("precision", "")),
    b"/write": lambda query: LineProtocol(query.get("precision", ""), V1_UNITS),
}
JSON = JsonMessages()
# Where the key may stand in the URL, which ends up in logs: only where clients can't do otherwise.
KEY_IN_QUERY = {b"/write"}

# The fields by which a client offers another protocol.
OFFER = {b"connection", b"upgrade", b"http2-settings"}

# Devices go without a word: how long the head of a request may take in all, and how long its body may pause.
HEAD_SECONDS = 30
PAUSE_SECONDS = 75
MAX_HEAD_BYTES = 64 * 1024
# So many times the limit of a body is read to its end, and not kept: a client that is still sending would not see the
# answer.
READ_ON = 8


class _Nobody:
    """Stands where uvicorn would wake a coroutine."""

    def set(self) -> None:
        pass


class Arrival:
    """A request on its way in, with what uvicorn's protocol looks for in the request that it is at (its `cycle`)."""

    __slots__ = (
        *("disconnected", "keep_alive", "more_body", "response_complete"),
        *("_parts", "form", "headers", "path", "query", "size"),
    )
    message_event = _Nobody()

    def __init__(self, path: bytes, query: dict[str, str], headers: dict[bytes, bytes], *, keep_alive: bool):
        self.path = path
        self.query = query
        self.form = PATHS[path](query)
        self.headers = headers
        self.keep_alive = keep_alive
        self.size = 0
        self._parts: list[bytes] = []
        self.more_body = True
        self.response_complete = False
        self.disconnected = False

    @property
    def announced(self) -> int:
        length = self.headers.get(b"content-length", b"")
        return int(length) if length.isdigit() else 0

    def add(self, part: bytes) -> None:
        """What is over the limit is not kept."""
        self.size += len(part)
        if self.size <= OPTIONS["MAX_BODY_BYTES"]:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def request(self) -> Request:
        authorization = self._text(b"authorization")
        return Request(
            format=self.form,
            body=self._parts[0] if len(self._parts) == 1 else b"".join(self._parts),
            authorization=authorization_of(authorization, self.query) if self.path in KEY_IN_QUERY else authorization,
            content_type=self._text(b"content-type"),
            content_encoding=self._text(b"content-encoding"),
            on_conflict=self.query.get("on_conflict", ""),
        )

    def _text(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class Edge(HttpToolsProtocol):
    """A connection. A request that comes before the last is answered (pipelined) waits its turn as uvicorn has it, and
    goes through Django.
    """

    # While the head of a request is incomplete: until when it has to be there, and how much of it came so far.
    _head_until: float | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._close_in(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = data
        while rest:
            rest = self._feed(rest)
        if self._head_until is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
            self._close_in(self._head_until - self.loop.time())
        elif type(self.cycle) is Arrival and self.cycle.more_body:
            self._close_in(PAUSE_SECONDS)

    def _feed(self, data: bytes) -> bytes:
        """Returns what has to be fed next."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            if self.parser.get_method() != b"CONNECT":
                return self._declined() + data[offer.args[0] :]
            self.send_400_response("The hub is no proxy.")
        except HttpParserError as error:
            if isinstance(error, HttpParserCallbackError):
                logger.exception("A request could not be taken in")
            self.send_400_response("This is no HTTP request.")
        return b""

    def _declined(self) -> bytes:
        """The head without its offer of another protocol. Some clients make one (Java's, of HTTP/2, at first) and
        go on without, but the parser takes what follows for the other protocol; so it is fed anew.
        """
        fields = [(name, value) for name, value in self.headers if name not in OFFER]
        if not self.parser.should_keep_alive():
            fields.append((b"connection", b"close"))
        start = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
        self.parser = HttpRequestParser(self)
        return b"\r\n".join([start, *(b"%s: %s" % field for field in fields), b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_until, self._head_bytes = self.loop.time() + HEAD_SECONDS, 0

    def on_headers_complete(self) -> None:
        self._head_until = None
        if self.parser.should_upgrade():
            return
        path, _, query = self.url.partition(b"?")
        is_free = self.cycle is None or self.cycle.response_complete
        if path not in PATHS or self.parser.get_method() != b"POST" or not is_free:
            super().on_headers_complete()
            return
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.cycle = Arrival(path, _query_of(query), dict(self.headers), keep_alive=keep_alive)
        if self.cycle.announced > READ_ON * OPTIONS["MAX_BODY_BYTES"]:
            self._break_off()
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        arrival = self.cycle
        if type(arrival) is not Arrival:
            super().on_body(body)
        elif arrival.more_body:
            arrival.add(body)
            if arrival.size > READ_ON * OPTIONS["MAX_BODY_BYTES"]:
                self._break_off()

    def on_message_complete(self) -> None:
        arrival = self.cycle
        if self.parser.should_upgrade():
            return
        if type(arrival) is not Arrival:
            super().on_message_complete()
        elif arrival.more_body:
            arrival.more_body = False
            if arrival.size > OPTIONS["MAX_BODY_BYTES"]:
                self._reply(arrival, refuse(arrival.form, too_large()))
            else:
                _intake(self.loop).take(arrival.request, partial(self._reply, arrival))

    def _break_off(self) -> None:
        """Whatever else is sent is not looked at."""
        self.cycle.more_body = self.cycle.keep_alive = False
        self._reply(self.cycle, refuse(self.cycle.form, too_large()))

    def _reply(self, arrival: Arrival, response: Response) -> None:
        arrival.response_complete = True
        if self.transport.is_closing():
            return
        self.transport.write(_wire_form(response, self.server_state.default_headers, keep_alive=arrival.keep_alive))
        if not arrival.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _close_in(self, seconds: float) -> None:
        """Unless something comes before."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


@cache
def _intake(loop: asyncio.AbstractEventLoop) -> Intake:
    return Intake(loop)


def _query_of(raw: bytes) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()} if raw else {}


def _wire_form(response: Response, defaults: list[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
    parts = [STATUS_LINE[response.status]]
    for name, value in defaults:
        parts += (name, b": ", value, b"\r\n")
    for name, value in response.headers.items():
        parts.append(f"{name}: {value}\r\n".encode("latin-1"))
    if response.status != 204:  # which has no body, nor anything that describes one
        parts.append(f"content-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n".encode())
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    parts.append(response.body)
    return b"".join(parts)
