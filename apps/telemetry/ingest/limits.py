"""How much a key and its owner may send, in messages and in readings per minute.

The buckets are in Redis, for all processes (shared_buckets.py). Asking it for every request would cost more than
taking the message in, so a process takes a lease of tokens with each ask and spends it in memory. A lease is a
sixtieth of what a bucket has left: wherever it lies idle, it does no harm.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from apps.telemetry.ingest.buckets import Ask, InDebt, LocalBuckets
from apps.telemetry.ingest.errors import TooManyRequests, WouldBlock
from apps.telemetry.ingest.options import OPTIONS
from apps.telemetry.ingest.shared_buckets import Away, SharedBuckets

MAX_LEASES = 100_000
# Whoever was refused need not ask again at once: then one ask finds a tenth of a second's worth, not one token.
REFUSED_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Limit:
    """`of` is key, owner or account. Another number is another bucket: changing a limit forgives its debt."""

    of: str
    counts_readings: bool
    per_minute: int
    bucket: str

    @property
    def unit(self) -> str:
        return "readings" if self.counts_readings else "messages"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What an admin has set: None leaves it to the settings, 0 lifts the limit."""

    messages_per_minute: int | None
    readings_per_minute: int | None


def limits_of_key(key_id: int, key: Overrides, owner_id: int, owner: Overrides) -> tuple[Limit, ...]:
    return _limits("key", key_id, "KEY", key) + _limits("owner", owner_id, "OWNER", owner)


def limits_of_person(user_id: int, user: Overrides) -> tuple[Limit, ...]:
    """As an owner. Where an admin has set nothing, all access tokens of an account together count as one key too."""
    as_key = Overrides(_lifted_if_set(user.messages_per_minute), _lifted_if_set(user.readings_per_minute))
    return _limits("account", user_id, "KEY", as_key) + _limits("owner", user_id, "OWNER", user)


def _limits(of: str, pk: int, setting: str, overrides: Overrides) -> tuple[Limit, ...]:
    pairs = (
        (False, "MESSAGES", overrides.messages_per_minute),
        (True, "READINGS", overrides.readings_per_minute),
    )
    found = []
    for counts_readings, unit, override in pairs:
        per_minute = OPTIONS[f"{setting}_{unit}_PER_MINUTE"] if override is None else override
        if per_minute:
            bucket = f"{of}:{pk}:{unit.lower()}:{per_minute}"
            found.append(Limit(of, counts_readings, per_minute, bucket))
    return tuple(found)


def _lifted_if_set(override: int | None) -> int | None:
    return None if override is None else 0


@dataclass(slots=True)
class Charge:
    """What a request has to pay."""

    limits: tuple[Limit, ...]
    messages: int
    readings: int

    def need(self, limit: Limit) -> int:
        return self.readings if limit.counts_readings else self.messages


class _Lease:
    """Tokens that this process may spend, and until when it need not ask for more."""

    __slots__ = ("refused_until", "tokens")

    def __init__(self):
        self.tokens = 0
        self.refused_until = 0.0


class Limiter:
    """For all threads of a process. `clock` is in seconds and never goes back."""

    def __init__(self, shared: SharedBuckets | None = None, clock: Callable[[], float] = time.monotonic):
        self._shared = shared or SharedBuckets()
        self._local = LocalBuckets()
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._lock = threading.Lock()

    def check(self, limits: tuple[Limit, ...]) -> None:
        """Raises TooManyRequests where that is known without looking into the request; takes nothing."""
        for limit in limits:
            lease = self._leases.get(limit.bucket)
            if lease is not None and lease.refused_until and lease.tokens < 1:
                self._refuse_again([limit])

    def take(self, charge: Charge, *, may_block: bool) -> None:
        """From every limit or from none. Raises TooManyRequests, and WouldBlock where Redis has to be asked."""
        if not (short := self._spend(charge)):
            return
        try:
            self._borrow(charge, short, may_block)
        except (TooManyRequests, WouldBlock):
            self.give_back(charge, unless=short)
            raise

    def give_back(self, charge: Charge, unless: list[Limit] | tuple = ()) -> None:
        """For a request that came to nothing by no fault of its own. The tokens stay with this process."""
        with self._lock:
            for limit in charge.limits:
                if limit not in unless:
                    self._lease(limit).tokens += charge.need(limit)

    def forget_everything(self) -> None:
        with self._lock:
            self._leases.clear()
            self._local = LocalBuckets()

    def _spend(self, charge: Charge) -> list[Limit]:
        """Takes what the leases have, and returns the limits whose lease is too small."""
        short = []
        with self._lock:
            for limit in charge.limits:
                need = charge.readings if limit.counts_readings else charge.messages
                lease = self._leases.get(limit.bucket)
                if lease is not None and lease.tokens >= need:
                    lease.tokens -= need
                else:
                    short.append(limit)
        return short

    def _borrow(self, charge: Charge, short: list[Limit], may_block: bool) -> None:
        self._refuse_again(short)
        asks = [Ask(limit.bucket, limit.per_minute, charge.need(limit)) for limit in short]
        try:
            grants = self._ask(asks, may_block)
        except InDebt as debt:
            self._note_refused(short, debt.waits)
            raise _refusal(short, debt.waits) from None
        with self._lock:
            for limit, ask, granted in zip(short, asks, grants, strict=True):
                self._lease(limit).tokens += granted - ask.need

    def _ask(self, asks: list[Ask], may_block: bool) -> list[int]:
        now = self._clock()
        if self._shared.may_be_asked(now):
            if not may_block:
                raise WouldBlock
            try:
                return self._shared.take(asks, now)
            except Away:
                pass
        with self._lock:
            return self._local.take(asks, now)

    def _refuse_again(self, limits: list[Limit]) -> None:
        """Raises TooManyRequests where one of them was refused a moment ago."""
        now = self._clock()
        with self._lock:
            waits = [self._lease(limit).refused_until - now for limit in limits]
        if max(waits) > 0:
            raise _refusal(limits, waits)

    def _note_refused(self, limits: list[Limit], waits: list[float]) -> None:
        now = self._clock()
        with self._lock:
            for limit, wait in zip(limits, waits, strict=True):
                if wait > 0:
                    self._lease(limit).refused_until = now + max(wait, REFUSED_SECONDS)

    def _lease(self, limit: Limit) -> _Lease:
        lease = self._leases.get(limit.bucket)
        if lease is None:
            if len(self._leases) >= MAX_LEASES:
                self._leases.clear()
            lease = self._leases[limit.bucket] = _Lease()
        return lease


def _refusal(limits: list[Limit], waits: list[float]) -> TooManyRequests:
    """Names the limit that takes longest."""
    wait, limit = max(zip(waits, limits, strict=True), key=lambda pair: pair[0])
    return TooManyRequests(of=limit.of, unit=limit.unit, per_minute=limit.per_minute, retry_after=ceil(wait))
