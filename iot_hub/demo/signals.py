"""How the demo's readings run through a day. Pure, and the same for the same moments: chance is seeded.

A signal is fed one moment after another, a minute apart, and answers values; `random` is its own.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

MINUTES = 7 * 24 * 60
SHIFT = range(6, 22)  # working hours, UTC


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime
    age: int  # minutes before the newest moment
    hour: float
    working: bool


type Value = float | bool | str
type Signal = Callable[[Iterable[Moment], Random], Iterator[Value]]


def week_before(now: datetime) -> list[Moment]:
    """Every minute of the week that ends at `now`, oldest first."""
    newest = now.replace(second=0, microsecond=0)
    return [_moment(newest, age) for age in range(MINUTES - 1, -1, -1)]


def _moment(newest: datetime, age: int) -> Moment:
    at = newest - timedelta(minutes=age)
    return Moment(at, age, at.hour + at.minute / 60, at.hour in SHIFT and at.weekday() < 5)


def daily(low: float, high: float, *, peak_hour: float, noise: float) -> Signal:
    """Up and down once a day, as the weather and the sun have it."""

    def signal(moments, random):
        wander = 0.0
        for moment in moments:
            wave = (1 + math.cos((moment.hour - peak_hour) * math.pi / 12)) / 2
            wander = 0.95 * wander + random.gauss(0, noise * 0.31)
            yield low + (high - low) * wave + wander

    return signal


def shift(idle: float, busy: float, *, noise: float, inertia: float = 3) -> Signal:
    """One level at rest, another at work; `inertia` is how many minutes it takes from one to the other."""

    def signal(moments, random):
        level = None
        for moment in moments:
            aim = busy if moment.working else idle
            level = aim if level is None else level + (aim - level) / inertia
            yield max(0.0, level + random.gauss(0, noise if moment.working else noise / 4))

    return signal


def shift_state(idle: str, busy: str) -> Signal:
    def signal(moments, random):
        return (busy if moment.working else idle for moment in moments)

    return signal


def hours_run(start: float) -> Signal:
    def signal(moments, random):
        hours = start
        for moment in moments:
            hours += moment.working / 60
            yield hours

    return signal


def falling(start: float, *, per_day: float) -> Signal:
    """A battery."""

    def signal(moments, random):
        for minutes, _ in enumerate(moments):
            yield max(0.0, start - per_day * minutes / 1440)

    return signal


def openings(*, per_hour: float) -> Signal:
    """A door that people go through, a minute or three at a time, mostly by day, and that they close."""

    def signal(moments, random):
        still_open = 0
        for moment in moments:
            chance = per_hour / 60 if moment.working else per_hour / 600
            if still_open:
                still_open -= 1
            elif random.random() < chance:
                still_open = random.randint(1, 3)
            yield still_open > 0

    return signal
