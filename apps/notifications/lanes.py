"""Lanes: what is bound for one mail server, one webhook host, one chat service.

Each has its own share of a worker's attention and its own circuit breaker, so a receiver that hangs holds up
nobody else, and is itself left alone for a while. This is a process's own memory; the rows know nothing of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

AT_ONCE = 16  # sends under way in a lane
QUEUED = 8 * AT_ONCE  # claimed in a lane that answers, so that its threads need not wait for the database
IN_ALL = 512
FAILURES = 5  # in a row, until the breaker opens
REST_SECONDS = 30.0


@dataclass
class Lane:
    busy: int = 0
    reached: int = 0  # in a row
    failures: int = 0  # in a row
    open_until: float = 0.0

    def room(self, now: float) -> int:
        """Claims wait for their turn in a lane only as it has shown that it answers: those of one that hangs
        would lapse meanwhile."""
        if self.failures >= FAILURES:  # after its rest, one message goes ahead and tries
            return 0 if now < self.open_until or self.busy else 1
        return min(QUEUED, AT_ONCE + self.reached) - self.busy

    def note(self, *, reached: bool) -> None:
        self.busy -= 1
        self.reached = self.reached + 1 if reached else 0
        self.failures = 0 if reached else self.failures + 1


class Lanes:
    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._lanes: dict[str, Lane] = {}
        self._clock = clock

    def room_in_all(self) -> int:
        return max(0, IN_ALL - sum(lane.busy for lane in self._lanes.values()))

    def blocked(self) -> list[str]:
        now = self._clock()
        return [name for name, lane in self._lanes.items() if lane.room(now) <= 0]

    def enter(self, name: str) -> bool:
        """False if there is no room."""
        lane = self._lanes.setdefault(name, Lane())
        if lane.room(self._clock()) <= 0:
            return False
        lane.busy += 1
        return True

    def leave(self, name: str, *, reached: bool) -> None:
        """`reached`: the receiver answered, if only to refuse."""
        lane = self._lanes[name]
        lane.note(reached=reached)
        if lane.failures >= FAILURES:
            lane.open_until = self._clock() + REST_SECONDS

    def forget_idle(self) -> None:
        """What has nothing under way and no failures need not be remembered."""
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.busy or lane.failures}
