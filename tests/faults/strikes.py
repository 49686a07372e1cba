"""Kills what it is told at random moments, and starts it again."""

import time
from collections.abc import Callable
from random import Random

from tests.faults.hub import Hub

# What dies together. PostgreSQL dies thrice as often as Redis: it has more to lose.
SHORT = [("postgres",), ("web",), ("redis",), ("postgres",), ("web", "postgres"), ("web",), ("postgres", "redis")]
LONG = [*SHORT, ("worker",), ("beat",), ("worker", "postgres"), ("web", "postgres", "redis", "worker")]


class Strikes:
    """`crashes` are the spans in which PostgreSQL was down."""

    def __init__(self, hub: Hub, random: Random, say: Callable[[str], None]):
        self.count = 0
        self.crashes: list[tuple[float, float]] = []
        self._hub = hub
        self._random = random
        self._say = say

    def short(self) -> None:
        victims = list(SHORT)
        self._random.shuffle(victims)
        for names in victims:
            self._strike(names, calm=2.5)
        time.sleep(1)

    def long(self, minutes: float) -> None:
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            self._strike(self._random.choice(LONG), calm=5)

    def _strike(self, names: tuple[str, ...], calm: float) -> None:
        """`calm` is the longest time, in seconds, that the hub has to come back to work before."""
        time.sleep(self._random.uniform(0.5, calm))
        down = time.monotonic()
        for name in names:
            self._hub.kill(name)
            time.sleep(self._random.choice([0, 0, self._random.uniform(0, 0.2)]))
        time.sleep(self._random.choice([0, self._random.uniform(0, 2)]))
        self._hub.start(*names)
        if "postgres" in names:
            self.crashes.append((down, time.monotonic()))
        self.count += 1
        self._say(f"killed {' and '.join(names)}")
