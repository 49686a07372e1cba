"""Wire forms: each decodes a body into messages, and answers as its clients expect."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from apps.telemetry.ingest.errors import IngestError
from apps.telemetry.ingest.receipt import Receipt

if TYPE_CHECKING:
    from apps.telemetry.ingest.formats.columns import MessageColumns


class Message(Protocol):
    """Readings of one time, before anything is known about them.

    `metrics` are values by name; without a `serial_number` the key's own device is meant, without a
    `timestamp` now.
    """

    metrics: dict[str, Any]
    serial_number: str | None
    timestamp: Any
    quality: float | None


class Format(Protocol):
    accepts: frozenset[str] | None  # content types, in lower case; None takes any
    overwrites: bool | None  # whether repeats replace; None leaves it to the request

    def decode(self, body: bytes, receipt: Receipt) -> list[Message | None]:
        """None stands where a message was rejected whole (see the receipt). Raises Malformed."""

    def columns(self, body: bytes) -> "MessageColumns | None":
        """The same as columns, where that is found without decoding one message after the other. None for any other
        body, good or bad.
        """

    def micros(self, timestamp: Any) -> int:
        """A message's timestamp as µs since 1970. Raises ValueError with what is wrong."""

    def all_micros(self, timestamps: list) -> np.ndarray | None:
        """The same for many. None where they have to be looked at one by one."""

    def answer(self, receipt: Receipt) -> tuple[int, str, bytes]:
        """Status, content type and body for what became of the readings."""

    def refuse(self, error: IngestError) -> tuple[str, bytes]:
        """Content type and body for a request that is refused whole."""
