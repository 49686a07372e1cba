"""The buckets in Redis, one for all processes, and what happens while Redis is away."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.telemetry.ingest.buckets import BURST_SECONDS, LEASE_PART, LEASE_SECONDS, WHOLE, Ask, InDebt

logger = logging.getLogger(__name__)

PREFIX = "ingest:limit:"
TIMEOUT_SECONDS = 0.2
# After a failure nobody asks for so long, so that an outage costs one short wait and not one for each request.
PAUSE_SECONDS = 5.0
_SCRIPT = (Path(__file__).parent / "take_tokens.lua").read_text()


class Away(Exception):
    """Redis does not answer; nothing is known to be taken."""


class SharedBuckets:
    """`time` is for tests; in earnest it is the clock of Redis, the same for all machines."""

    def __init__(self, url: str | None = None, *, time: Callable[[], float] | None = None):
        self._url = url
        self._time = time
        self._is_away = False
        self._ask_again_at = 0.0

    def may_be_asked(self, now: float) -> bool:
        """`now` is the process's own clock, as for `take`."""
        return not self._is_away or now >= self._ask_again_at

    def take(self, asks: list[Ask], now: float) -> list[int]:
        """The tokens granted by each bucket, in one round trip. All or none: raises InDebt. Raises Away."""
        if self._is_away:
            self._ask_again_at = now + PAUSE_SECONDS  # one tries; the others need not wait for it
        try:
            may_pass, *numbers = self._run(asks)
        except (redis.RedisError, OSError) as error:
            self._note_away(now, error)
            raise Away from error
        self._note_back()
        if not may_pass:
            raise InDebt([microseconds / 1e6 for microseconds in numbers])
        return numbers

    def _run(self, asks: list[Ask]) -> list[int]:
        time = "" if self._time is None else self._time()
        arguments = [time, BURST_SECONDS, WHOLE, LEASE_PART, LEASE_SECONDS]
        for ask in asks:
            arguments += (ask.per_minute, ask.need)
        return self._script(keys=[PREFIX + ask.bucket for ask in asks], args=arguments)

    @cached_property
    def _script(self):
        client = redis.Redis.from_url(
            self._url or settings.REDIS_URL,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            # A connection that broke while idle is made anew; who was kept waiting once is not kept waiting twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        return client.register_script(_SCRIPT)

    def _note_away(self, now: float, error: Exception) -> None:
        self._ask_again_at = now + TIMEOUT_SECONDS + PAUSE_SECONDS
        if not self._is_away:
            logger.warning("Redis is away, so each process keeps the rate limits by itself: %s", error)
        self._is_away = True

    def _note_back(self) -> None:
        if self._is_away:
            logger.warning("Redis is back; rate limits are shared again.")
        self._is_away = False
