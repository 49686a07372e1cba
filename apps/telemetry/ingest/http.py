"""An ingest request, whatever the transport: from bytes and a token to a status, headers and a body.

pending = start(request, may_block=True)   # raises WouldBlock if it may not
response = pending.finish(receipt)         # with the writer's receipt, after the commit
"""

import time
import zlib
from concurrent.futures import Future
from dataclasses import dataclass, field

from django.conf import settings
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
from apps.telemetry.ingest.nudges import Nudger
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.ingest.resolve import Resolver
from apps.telemetry.ingest.writer import Writer
from apps.telemetry.intervals import micros_of
from apps.telemetry.signals import watched_readings_stored

INLINE_BODY_BYTES = 32 * 1024
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
        self.watcher = ChangeWatcher(self._forget)
        self.nudger = Nudger(lambda: watched_readings_stored.send_robust(sender=Service))
        self.writer = Writer(on_watched=self.nudger.nudge)

    def start(self, request: Request, *, may_block: bool) -> Future:
        """A future of the Response. Raises WouldBlock where the database is needed and `may_block` is off."""
        try:
            batch = self._prepare(request, may_block)
            if not len(batch):
                return _done(_receipt_response(request.format, batch.receipt))
            stored = self.writer.submit(batch)
        except IngestError as error:
            return _done(refuse(request.format, error))
        except DatabaseError:
            away = Busy("The store is away; nothing was stored.", retry_after=2)
            return _done(refuse(request.format, away))
        return _mapped(stored, request.format)

    def forget_everything(self) -> None:
        """For tests that empty the tables without triggers."""
        self._forget(None)

    def _prepare(self, request: Request, may_block: bool) -> Batch:
        if not may_block and len(request.body) > INLINE_BODY_BYTES:
            raise WouldBlock
        now = time.time()
        credential = self._authenticate(request.authorization, now, may_block)
        overwrite = _overwrites(request)
        body = _decoded(request)
        batch = Batch(received_at=int(now * 1_000_000), overwrite=overwrite)
        messages = request.format.decode(body, batch.receipt)
        if not messages:
            raise Malformed("The body has no messages.")
        resolver = Resolver(
            self.catalog,
            credential,
            now=batch.received_at,
            earliest=batch.received_at - self._retention(),
            may_block=may_block,
        )
        resolver.resolve(messages, request.format.micros, batch)
        return batch

    def _authenticate(self, authorization: str, now: float, may_block: bool) -> Credential:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"token", "bearer"} or not token.strip():
            raise Unauthorized("Send a key: Authorization: Token <key>.")
        token = token.strip()
        if self.watcher.is_fresh and self.credentials.cached(token):
            return self.credentials.get(token, now=now)
        if not may_block:
            raise WouldBlock
        self.watcher.ensure_running()
        self._retention()
        return self.credentials.load(token, now=now)

    def _retention(self) -> int:
        """How far back readings are taken, in µs. The database reads the setting, as it does for the hypertable."""
        return micros_of(settings.TELEMETRY["RETENTION"] or FOR_EVER)

    def _forget(self, device_id) -> None:
        self.catalog.drop(device_id)
        self.credentials.drop()


def refuse(form: Format, error: IngestError) -> Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Token"
    metrics.answered(error.status)
    content_type, body = form.refuse(error)
    return Response(error.status, body, content_type, headers)


def _receipt_response(form: Format, receipt: Receipt) -> Response:
    status, content_type, body = form.answer(receipt)
    metrics.answered(status, receipt)
    return Response(status, body, content_type)


def _mapped(stored: Future, form: Format) -> Future:
    answered: Future = Future()

    def answer(done: Future) -> None:
        error = done.exception()
        if error is None:
            answered.set_result(_receipt_response(form, done.result()))
        elif isinstance(error, IngestError):
            answered.set_result(refuse(form, error))
        else:
            answered.set_exception(error)

    stored.add_done_callback(answer)
    return answered


def _done(response: Response) -> Future:
    future: Future = Future()
    future.set_result(response)
    return future


def _overwrites(request: Request) -> bool:
    if request.format.overwrites is not None:
        return request.format.overwrites
    if request.on_conflict not in ON_CONFLICT:
        raise Malformed("on_conflict is ignore or overwrite.")
    return ON_CONFLICT[request.on_conflict]


def _decoded(request: Request) -> bytes:
    limit = settings.TELEMETRY["MAX_BODY_BYTES"]
    if len(request.body) > limit:
        raise too_large()
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind and kind not in request.format.accepts:
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


def too_large() -> TooLarge:
    limit = settings.TELEMETRY["MAX_BODY_BYTES"]
    return TooLarge(f"The body is larger than {limit} bytes; send it in parts.")


service = Service()
