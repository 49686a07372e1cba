"""What messages tell about the devices themselves: when they were last heard of, and how their clocks go.

A message that carries a time comes in `lag` = received_at − timestamp after it, and
    lag = delay − skew        (delay ≥ 0: network, queue, backlog; skew > 0: the device's clock runs ahead)
so the message with the smallest lag is the one whose delay disturbed least, and skew ≈ −min(lag). That is the minimum
filter of NTP's clock filter algorithm (RFC 5905, section 10). NTP also knows the way back and can subtract the delay;
here it stays in: a clock that runs ahead does so by at least what is shown, one behind lags by at most that.

The smallest lag counts for WINDOW: a smaller or equal one replaces it at once, any other after that time, so that a
clock that was set right is noticed. The row holds the window, hence several processes agree on it.
"""

from uuid import UUID

from apps.telemetry.ingest.batch import NO_LAG, Batch

WRITE_SECONDS = 5.0
WINDOW = "10 minutes"
MAX_DEVICES = 100_000

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


class Presence:
    """Keeps a device's row at most WRITE_SECONDS behind: not every message writes it."""

    def __init__(self):
        # By device: when it is due, and the smallest lag since it was last written.
        self._devices: dict[UUID, list[float]] = {}

    def due(self, batches: list[Batch], now: float) -> list[Heard]:
        """Devices to be written, each with its smallest lag. `now` is of the monotonic clock."""
        if len(self._devices) > MAX_DEVICES:
            self._devices.clear()
        due = []
        for batch in batches:
            for device_id, lag in batch.heard:
                state = self._devices.get(device_id)
                if state is None:
                    state = self._devices[device_id] = [now, lag]
                elif lag < state[1]:
                    state[1] = lag
                if now >= state[0]:
                    due.append((device_id, state[1]))
                    state[:] = now + WRITE_SECONDS, NO_LAG
        return due

    def not_written(self, batches: list[Batch]) -> None:
        """Their devices are due again with the next message."""
        for batch in batches:
            for device_id, _ in batch.heard:
                self._devices.pop(device_id, None)


def write(cursor, heard: list[Heard], at: float) -> None:
    """`last_seen`, only ever forward, and `clock_skew_ms` of devices with their smallest lags (µs)."""
    cursor.execute(writing(cursor, heard, at))


def writing(cursor, heard: list[Heard], at: float) -> bytes:
    """The statement for that."""
    params = {
        "at": at,
        "ids": [str(device_id) for device_id, _ in heard],
        "skews": [None if lag == NO_LAG else round(-lag / 1000) for _, lag in heard],
        "window": WINDOW,
    }
    return cursor.mogrify(_TOUCH, params)
