"""What an ingest request can come to, besides a receipt."""


class IngestError(Exception):
    """A request that is refused whole; nothing of it was stored."""

    status = 400

    def __init__(self, detail: str, *, retry_after: int | None = None):
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


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


class Busy(IngestError):
    """The store is behind or away: come back in `retry_after` seconds."""

    status = 503


class WouldBlock(Exception):
    """The answer needs the database, and the caller said that it can't wait here."""
