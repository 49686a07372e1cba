"""In which order a device sends what: each plan is an endless stream of bodies of one feed."""

from collections.abc import Callable, Iterator
from itertools import count
from random import Random

from tests.faults.feeds import Body, Feed

Plan = Callable[[Feed, Random], Iterator[Body]]

RING = 400  # readings that are overwritten again and again


def one_by_one(feed: Feed, random: Random) -> Iterator[Body]:
    for place in count():
        yield feed.body(place, 1)


def in_arrays(smallest: int, largest: int) -> Plan:
    """One after the other, some of them zipped; small ones more often than large ones."""

    def plan(feed: Feed, random: Random) -> Iterator[Body]:
        first = 0
        while True:
            size = smallest + int((largest - smallest) * random.random() ** 4)
            yield feed.body(first, size, zipped=random.random() < 0.5)
            first += size

    return plan


def repeating(feed: Feed, random: Random) -> Iterator[Body]:
    """Everything once more with other values, then half of it together with new ones."""
    first = 0
    while True:
        half = random.randint(1, 60)
        yield feed.body(first, 2 * half)
        yield feed.body(first, 2 * half, fresh=0, other_values=True)
        yield feed.body(first + half, 2 * half, fresh=half, zipped=True)
        first += 3 * half


def overwriting(feed: Feed, random: Random) -> Iterator[Body]:
    """The same few readings over and over, with another value each time."""
    yield feed.body(0, RING, overwrite=True)
    for version in count(1):
        size = random.randint(1, 100)
        yield feed.body(random.randint(0, RING - size), size, fresh=0, overwrite=True, version=version)
