"""What messages tell about the devices themselves: when they were last heard of, and how their clocks go.

A message that carries a time comes in `lag` = received_at − timestamp after it, and
    lag = delay − skew        (delay ≥ 0: network, queue, backlog; skew > 0: the device's clock runs ahead)
so the message with the smallest lag is the one whose delay disturbed least, and skew ≈ −min(lag). That is the minimum
filter of NTP's clock filter algorithm (RFC 5905, section 10). NTP also knows the way back and can subtract the delay;
here it stays in: a clock that runs ahead does so by at least what is shown, one behind lags by at most that.

The smallest lag counts for WINDOW: a smaller or equal one replaces it at once, any other after that time, so that a
clock that was set right is noticed. The row holds the window, hence several processes agree on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from uuid import UUID

WRITE_SECONDS = 5.0
WINDOW = "10 minutes"
# The lag of a device that sends no times.
NO_LAG = inf

# Sorted and locked, so that two writers can't deadlock and each sees what the other wrote.
_TOUCH = """
    UPDATE devices SET
        last_seen = greatest(last_seen, to_timestamp(%(at)s)),
        clock_skew_ms = CASE WHEN heard.is_better THEN heard.skew ELSE clock_skew_ms END,
        clock_skew_at = CASE WHEN heard.is_better THEN to_timestamp(%(at)s) ELSE clock_skew_at END
    FROM (
        SELECT id, skew, skew IS NOT NULL AND (
            clock_skew_ms IS NULL OR skew >= clock_skew_ms
            OR clock_skew_at < to_timestamp(%(at)s) - %(window)s::interval
        ) AS is_better
        FROM unnest(%(ids)s::uuid[], %(skews)s::bigint[]) AS lowest (id, skew) JOIN devices USING (id)
        ORDER BY id FOR UPDATE OF devices
    ) AS heard
    WHERE devices.id = heard.id
"""


# A device and its smallest lag (µs).
Heard = tuple[UUID, float]


@dataclass(slots=True, eq=False)
class Presence:
    """A device as this process hears it: when its row is due (by the monotonic clock), as not every message writes it,
    and the smallest lag since it was last written.
    """

    device_id: UUID
    due_at: float = 0.0
    least_lag: float = NO_LAG

    def hear(self, lag: float) -> None:
        if lag < self.least_lag:
            self.least_lag = lag


def due(heard: Iterable[Presence], now: float) -> list[Presence]:
    return [presence for presence in heard if presence.due_at <= now]


def taken(heard: Iterable[Presence], now: float) -> list[Heard]:
    """Those that are due, to be written now; they are due again WRITE_SECONDS later."""
    found = []
    for presence in heard:
        if presence.due_at <= now:
            found.append((presence.device_id, presence.least_lag))
            presence.due_at, presence.least_lag = now + WRITE_SECONDS, NO_LAG
    return found


def give_back(heard: Iterable[Presence]) -> None:
    """They were not written after all."""
    for presence in heard:
        presence.due_at = 0.0


def writing(cursor, heard: list[Heard], at: float) -> bytes:
    """The statement that moves `last_seen`, only ever forward, and `clock_skew_ms` of devices with their smallest lags
    (µs).
    """
    params = {
        "at": at,
        "ids": [str(device_id) for device_id, _ in heard],
        "skews": [None if lag == NO_LAG else round(-lag / 1000) for _, lag in heard],
        "window": WINDOW,
    }
    return cursor.mogrify(_TOUCH, params)
