"""What is measured, and what came out of it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Protocol

from processes import Memory, machine_seconds


class Store(Protocol):
    """Where readings end up."""

    def clear(self) -> None: ...

    def count(self) -> int: ...


@dataclass(frozen=True)
class Target:
    """An HTTP endpoint that takes readings. `form` is json or lines; `cpu` tells the seconds used so far, by name."""

    port: int
    path: str
    form: str
    key: str
    store: Store
    cpu: Callable[[], dict[str, float]]

    @property
    def head(self) -> str:
        """All of a request that stands before the length of its body."""
        kind = "application/json" if self.form == "json" else "text/plain; charset=utf-8"
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Token {self.key}\r\nContent-Type: {kind}\r\n"
        )


@dataclass
class Result:
    """A row of the table. Rates are per second; `cpu` is in percent of one core, by process."""

    part: str
    processes: int | None = None
    connections: int | None = None
    requests: float | None = None
    values: float = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    failed: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    memory_before: Memory | None = None
    memory_after: Memory | None = None
    not_judged: int | None = None
    note: str = ""

    @property
    def cost(self) -> float | None:
        """CPU time of all servers together, in µs a value: says something on a busy machine too."""
        servers = [used for name, used in self.cpu.items() if name not in ("generator", "others")]
        return sum(servers) * 1e4 / self.values if servers and self.values else None

    @property
    def key(self) -> tuple:
        return self.part, self.processes, self.connections, self.note

    def as_dict(self) -> dict:
        return asdict(self) | {"cost": self.cost}


class Failure(Exception):
    """What was measured is worth nothing, and why."""


class Meter:
    """CPU time since its making, in percent of one core: of ours by name, and of everybody else on the machine."""

    def __init__(self, ours: Callable[[], dict[str, float]]):
        self._ours = ours
        self._before = self._read()

    def read(self) -> dict[str, float]:
        after = self._read()
        seconds = after.pop("clock") - self._before["clock"]
        used = {name: max(0.0, 100 * (after[name] - self._before[name]) / seconds) for name in after}
        everybody = used.pop("everybody")
        return used | {"others": max(0.0, everybody - sum(used.values()))}

    def _read(self) -> dict[str, float]:
        return self._ours() | {"everybody": machine_seconds(), "clock": time.perf_counter()}
