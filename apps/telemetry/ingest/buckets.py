"""The arithmetic of rate limits: token buckets that may go into debt. No store and no clock in here.

A bucket holds a minute's worth of tokens and refills evenly. All there is to remember of it is when it will be
full again (the generic cell rate algorithm, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
A request is let in where a whole token is left, and then takes all that it needs, even beyond zero: so a
backlog goes through in one piece, and who comes next waits until the debt is worked off.

`take_tokens.lua` computes the same within Redis.
"""

from dataclasses import dataclass
from math import floor

BURST_SECONDS = 60.0
# Times are rounded, so the last token of a bucket may look a little smaller than it is.
WHOLE = 0.999
# With the need a lease for later ones is granted: a part of what is left, but at least so many seconds' worth.
LEASE_PART = 60.0
LEASE_SECONDS = 0.1
MAX_BUCKETS = 100_000


@dataclass(frozen=True, slots=True)
class Ask:
    bucket: str
    per_minute: int
    need: int


class InDebt(Exception):
    """Nothing was taken. `waits` are the seconds until each bucket asked has a token, 0 where it has one."""

    def __init__(self, waits: list[float]):
        super().__init__(waits)
        self.waits = waits


def left(full_at: float, now: float, per_minute: int) -> float:
    """Tokens in a bucket that will be full at `full_at`; less than zero is debt."""
    return (now + BURST_SECONDS - max(full_at, now)) * per_minute / 60


def wait(tokens: float, per_minute: int) -> float:
    """Seconds until a whole token is there."""
    return 0.0 if tokens >= WHOLE else (1 - tokens) * 60 / per_minute


def grant(tokens: float, per_minute: int, need: int) -> int:
    """The need and a lease. A full bucket leases a second's worth, one near its end no more than it can spare."""
    lease = max(tokens / LEASE_PART, per_minute / 60 * LEASE_SECONDS)
    return need + max(0, floor(min(lease, tokens - need)))


class LocalBuckets:
    """Buckets of one process alone. Not safe for threads."""

    def __init__(self):
        self._full_at: dict[str, float] = {}

    def take(self, asks: list[Ask], now: float) -> list[int]:
        """The tokens granted by each bucket. All or none: raises InDebt."""
        tokens = [left(self._full_at.get(ask.bucket, now), now, ask.per_minute) for ask in asks]
        waits = [wait(found, ask.per_minute) for ask, found in zip(asks, tokens, strict=True)]
        if any(waits):
            raise InDebt(waits)
        grants = [grant(found, ask.per_minute, ask.need) for ask, found in zip(asks, tokens, strict=True)]
        for ask, granted in zip(asks, grants, strict=True):
            full_at = max(now, self._full_at.get(ask.bucket, now))
            self._full_at[ask.bucket] = full_at + granted * 60 / ask.per_minute
        self._forget_full(now)
        return grants

    def _forget_full(self, now: float) -> None:
        """A full bucket is as good as none."""
        if len(self._full_at) > MAX_BUCKETS:
            self._full_at = {bucket: full_at for bucket, full_at in self._full_at.items() if full_at > now}
