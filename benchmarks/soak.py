"""Millions of readings through one web process: does its memory grow?"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import senders
from parts import Bench
from processes import Memory

CONNECTIONS = 8
LEAST_SECONDS = 10


@dataclass(frozen=True)
class Leg:
    """After so many millions of readings; `values` is the rate since the last look."""

    millions: float
    values: float
    memory: Memory

    def __str__(self) -> str:
        memory = f"RSS {self.memory.rss:.0f} MB, PSS {self.memory.pss:.0f} MB"
        return f"{self.millions:8.1f} million readings, {self.values:,.0f}/s, web process {memory}"

    def as_dict(self) -> dict:
        return asdict(self)


def run(bench: Bench, millions: float, tell: Callable[[Leg], None]) -> list[Leg]:
    """`tell` is called after each leg. The table is emptied before each, so that the disk doesn't fill."""
    bench.hub.stop()
    bench.hub.start(1)
    target, done = bench.hub_target(), 0
    legs = [Leg(0, 0, bench.hub.web_memory())]
    tell(legs[0])
    while done < millions * 1e6:
        seconds = max(bench.seconds, LEAST_SECONDS)
        result = senders.measure("soak", target, bench.timeline, connections=CONNECTIONS, seconds=seconds)
        done += bench.database.count()
        legs.append(Leg(done / 1e6, result.values, bench.hub.web_memory()))
        tell(legs[-1])
        bench.database.wait_until_judged()
    return legs
