"""Latest values in Redis: read, filled from the database, moved forward, forgotten.

Nothing here fails when Redis does: a value that can't be read is missing, one that can't be written is left to the
end of its life. After a failure nobody waits for Redis for a second.
"""

import logging
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

LIFETIME_MS = 2000
TIMEOUT = 0.25  # seconds, for connecting and for each answer
PAUSE_WHEN_AWAY = 1.0  # seconds
FORWARD = (Path(__file__).parent / "forward.lua").read_text()
# The script makes the keys of the series itself, so one Redis has to hold them all; a cluster would not do.
PREFIX = "latest:"
ASKED = "latest:asked"


class LatestCache:
    def __init__(self, url: str):
        # One retry without a pause: a connection that died while idle is no outage.
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
        )
        self._forward = self._redis.register_script(FORWARD)
        self._away_until = 0.0

    def read(self, series_ids: list[int]) -> tuple[dict[int, bytes], int | None]:
        """The packed entries that are held, and until when what is now read from the database may be held
        (None while Redis is away). One round trip.
        """

        def ask():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.time()
            pipeline.mget([f"{PREFIX}{series_id}" for series_id in series_ids])
            return pipeline.execute()

        answer = self._try(ask)
        if answer is None:
            return {}, None
        (seconds, micros), values = answer
        held = {one: value for one, value in zip(series_ids, values, strict=True) if value is not None}
        return held, seconds * 1000 + micros // 1000 + LIFETIME_MS

    def fill(self, records: bytes, ends_at: int) -> None:
        """What the database had after `ends_at` was given out."""
        self._try(lambda: self._forward(keys=[PREFIX, ASKED], args=[records, ends_at]))

    def is_asked(self) -> bool:
        """Whether anything is held: if not, there is nothing to move forward."""
        return bool(self._try(lambda: self._redis.exists(ASKED)))

    def forward(self, chunks: Iterable[bytes]) -> None:
        """Each chunk of records in one round trip, small enough that others need not wait for Redis."""
        for records in chunks:
            self._try(lambda records=records: self._forward(keys=[PREFIX, ASKED], args=[records, ""]))

    def forget(self, series_ids: list[int]) -> None:
        if series_ids:
            self._try(lambda: self._redis.unlink(*(f"{PREFIX}{series_id}" for series_id in series_ids)))

    def _try(self, ask: Callable):
        """What `ask` gives, or None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = ask()
        except redis.RedisError as error:
            if not self._away_until:
                logger.warning("Latest values do without Redis for now: %s", error)
            self._away_until = time.monotonic() + PAUSE_WHEN_AWAY
            return None
        self._away_until = 0.0
        return answer


@cache
def _at(url: str) -> LatestCache:
    return LatestCache(url)


def latest_cache() -> LatestCache:
    """One per process."""
    return _at(settings.REDIS_URL)
