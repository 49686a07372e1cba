"""An ingest request, whatever the transport: from bytes and a token to a status, headers and a body."""

import time
import zlib
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from django.db import Error as DatabaseError

from apps.telemetry.ingest import metrics
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.catalog import Catalog, ChangeWatcher
from apps.telemetry.ingest.credentials import Credential, Credentials
from apps.telemetry.ingest.errors import (
    Busy,
    IngestError,
    Malformed,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
    WouldBlock,
)
from apps.telemetry.ingest.formats import Format
from apps.telemetry.ingest.key_use import KeyUse
from apps.telemetry.ingest.latest_values import LatestValues
from apps.telemetry.ingest.limits import Charge, Limiter
from apps.telemetry.ingest.nudges import Nudger
from apps.telemetry.ingest.options import OPTIONS
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.ingest.resolve import Resolver
from apps.telemetry.ingest.writer import RETRY_AFTER_SECONDS, Done, Writer
from apps.telemetry.intervals import micros_of
from apps.telemetry.signals import watched_readings_stored

# Adds at most this to the time from a reading to its event, and only under load.
NUDGE_SECONDS = 0.1
# A store that hangs must not hold its callers.
ANSWER_SECONDS = 10
FOR_EVER = "200 years"
ON_CONFLICT = {"": False, "ignore": False, "overwrite": True}


@dataclass(slots=True)
class Request:
    format: Format
    body: bytes
    authorization: str = ""
    content_type: str = ""
    content_encoding: str = ""
    on_conflict: str = ""
    # Set when the rate limits have been paid: a request that is taken up again in a thread does not pay twice.
    charge: Charge | None = None


@dataclass(slots=True)
class Response:
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


class Service:
    """Everything that one process needs to take readings: caches, the writer, the thread that nudges."""

    def __init__(self):
        self.catalog = Catalog()
        self.credentials = Credentials()
        self.limiter = Limiter()
        self.key_use = KeyUse()
        self.watcher = ChangeWatcher(self._forget, every_second=self.key_use.write)
        self.nudger = Nudger(lambda: watched_readings_stored.send_robust(sender=Service), pause=NUDGE_SECONDS)
        self.latest_values = LatestValues()
        self.writer = Writer(on_watched=self.nudger.nudge, on_stored=self.latest_values.offer)

    def respond(self, request: Request) -> Response:
        """The whole way, waiting for the commit."""
        outcome: Future = Future()
        try:
            self.submit(self.prepare(request, may_block=True), outcome.set_result)
        except IngestError as error:
            return self.answer(request, error)
        try:
            return self.answer(request, outcome.result(ANSWER_SECONDS))
        except TimeoutError:
            return self.answer(request, no_answer())

    def prepare(self, request: Request, *, may_block: bool) -> Batch:
        """Raises IngestError, and WouldBlock where the database or Redis is needed and `may_block` is off."""
        try:
            return self._prepare(request, may_block)
        except DatabaseError as error:
            raise Busy("The store is away; nothing was stored.", retry_after=RETRY_AFTER_SECONDS) from error

    def submit(self, batch: Batch, done: Done) -> None:
        """`done` is told the receipt after the commit, or what went wrong. Raises Busy."""
        if len(batch):
            self.writer.submit(batch, done)
            return
        if batch.heard:
            # A clock so wrong that every reading is rejected is the one that somebody has to hear of.
            with suppress(Busy):
                self.writer.submit(batch, lambda outcome: None)
        done(batch.receipt)

    def answer(self, request: Request, outcome: Receipt | Exception) -> Response:
        """Raises what is no IngestError: then the hub is at fault."""
        if isinstance(outcome, Receipt):
            status, content_type, body = request.format.answer(outcome)
            metrics.answered(status, outcome)
            return Response(status, body, content_type)
        if not isinstance(outcome, IngestError):
            raise outcome
        if isinstance(outcome, Busy) and request.charge is not None:
            # It will come again, and should not pay for both.
            self.limiter.give_back(request.charge)
            request.charge = None
        return refuse(request.format, outcome)

    def forget_everything(self) -> None:
        """For tests that empty the tables without triggers."""
        self._forget(None)
        self.limiter.forget_everything()

    def _prepare(self, request: Request, may_block: bool) -> Batch:
        now = time.time()
        credential = self._authenticate(request.authorization, now, may_block)
        if request.charge is None:
            self.limiter.check(credential.limits)
        overwrite = _overwrites(request)
        body = _decoded(request)
        batch = Batch(received_at=int(now * 1_000_000), overwrite=overwrite)
        resolver = Resolver(
            self.catalog,
            credential,
            now=batch.received_at,
            earliest=batch.received_at - self._retention(),
            may_block=may_block,
        )
        columns = request.format.columns(body)
        if columns is not None:
            self._charge(request, credential, len(columns), len(columns.numbers), may_block)
            if resolver.resolve_columns(columns, batch):
                return batch
        messages = request.format.decode(body, batch.receipt)
        if not messages:
            raise Malformed("The body has no messages.")
        readings = sum(map(len, [message.metrics for message in messages if message is not None]))
        self._charge(request, credential, len(messages), readings, may_block)
        resolver.resolve(messages, request.format, batch)
        return batch

    def _authenticate(self, authorization: str, now: float, may_block: bool) -> Credential:
        token = _token_of(authorization)
        if not token:
            raise Unauthorized("Send a key: Authorization: Token <key>.")
        if not self.watcher.is_fresh:
            if not may_block:
                raise WouldBlock
            self.watcher.refresh()
        credential = self.credentials.get(token, now=now)
        if credential is None:
            if not may_block:
                raise WouldBlock
            self._retention()
            credential = self.credentials.load(token, now=now)
        if credential.key_id is not None:
            self.key_use.note(credential.key_id, now)
        return credential

    def _charge(self, request: Request, credential: Credential, messages: int, readings: int, may_block: bool) -> None:
        if request.charge is not None or not credential.limits:
            return
        charge = Charge(credential.limits, messages, readings)
        self.limiter.take(charge, may_block=may_block)
        request.charge = charge

    def _retention(self) -> int:
        """How far back readings are taken, in µs. The database reads the setting, as it does for the hypertable."""
        return micros_of(OPTIONS["RETENTION"] or FOR_EVER)

    def _forget(self, device_ids: set[UUID] | None) -> None:
        self.credentials.drop(device_ids)
        for device_id in [None] if device_ids is None else device_ids:
            self.catalog.drop(device_id)


def authorization_of(header: str, query: Mapping[str, str]) -> str:
    """For paths where clients of InfluxDB 1 may send their key in the URL, as the password `p`."""
    return f"Token {query['p']}" if query.get("p") else header


def refuse(form: Format, error: IngestError) -> Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Token"
    metrics.answered(error.status)
    content_type, body = form.refuse(error)
    return Response(error.status, body, content_type, headers)


def _token_of(authorization: str) -> str:
    """Empty if there is none. Of HTTP Basic, as clients of InfluxDB 1 send it, the password; the user may be any."""
    scheme, _, token = authorization.strip().partition(" ")
    match scheme.lower():
        case "token" | "bearer":
            return token.strip()
        case "basic":
            return _password_of(token)
    return ""


def _password_of(credentials: str) -> str:
    try:
        return b64decode(credentials, validate=True).decode("latin-1").partition(":")[2]
    except ValueError:
        return ""


def _overwrites(request: Request) -> bool:
    if request.format.overwrites is not None:
        return request.format.overwrites
    if request.on_conflict not in ON_CONFLICT:
        raise Malformed("on_conflict is ignore or overwrite.")
    return ON_CONFLICT[request.on_conflict]


def _decoded(request: Request) -> bytes:
    limit = OPTIONS["MAX_BODY_BYTES"]
    if len(request.body) > limit:
        raise too_large()
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind and request.format.accepts is not None and kind not in request.format.accepts:
        raise UnsupportedMedia(f"Send {sorted(request.format.accepts)[0]}, not {kind[:100]}.")
    encoding = request.content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return request.body
    if encoding != "gzip":
        raise UnsupportedMedia("The only content encoding is gzip.")
    return _gunzip(request.body, limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    """Never holds more than the limit, however small the bomb."""
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = unzip.decompress(body, limit)
        if unzip.unconsumed_tail:
            raise too_large()
        if not unzip.eof:
            raise Malformed("The gzip body ends too early.")
    except zlib.error as error:
        raise Malformed(f"The body is not gzip: {error}") from error
    return plain


def no_answer() -> Busy:
    """An answer that can't say what became of the readings; sending them again is safe."""
    detail = "The store does not answer: what was sent may be stored or not. Send it again."
    return Busy(detail, retry_after=RETRY_AFTER_SECONDS)


def too_large() -> TooLarge:
    limit = OPTIONS["MAX_BODY_BYTES"]
    return TooLarge(f"The body is larger than {limit} bytes; send it in parts.")


service = Service()
