"""What an ingest request can come to, besides a receipt."""

from typing import Any


class IngestError(Exception):
    """A request that is refused whole; nothing of it was stored. `members` are further ones of a problem's body."""

    status = 400

    def __init__(self, detail: str, *, retry_after: int | None = None):
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.members: dict[str, Any] = {}


class Malformed(IngestError):
    status = 400


class Unauthorized(IngestError):
    status = 401


class Forbidden(IngestError):
    status = 403


class TooLarge(IngestError):
    status = 413


class UnsupportedMedia(IngestError):
    status = 415


class TooManyRequests(IngestError):
    """More than a limit lets in. `of` is key, owner or account, `unit` messages or readings."""

    status = 429

    def __init__(self, *, of: str, unit: str, per_minute: int, retry_after: int):
        super().__init__(
            f"This {of} may send {per_minute} {unit} a minute. Come back in {retry_after} s.", retry_after=retry_after
        )
        self.members = {"limit": {"of": of, "unit": unit, "per_minute": per_minute}}


class Failed(IngestError):
    status = 500


class Busy(IngestError):
    """The store is behind or away: come back in `retry_after` seconds."""

    status = 503


class WouldBlock(Exception):
    """The answer needs the database, and the caller said that it can't wait here."""
