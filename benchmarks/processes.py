"""Processes that a benchmark starts: how they begin and end, and what they use meanwhile."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One process with all its children, in a session of its own: Ctrl-C reaches only the benchmark, which ends them
    in order. Should the benchmark be killed, they are told to end.
    """

    def __init__(self, command: list, *, environment: dict[str, str], log: Path):
        self.log = log
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(15)
                break
        # What the first process left behind.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_http(
    process: Process, port: int, path: str, wanted: Iterable[int] = (200, 204), seconds: float = 60
) -> None:
    until = time.monotonic() + seconds
    while get_status(port, path) not in wanted:
        if process.has_ended or time.monotonic() > until:
            raise SystemExit(f"{process.log.stem} does not answer at {path}. Its last lines:\n{process.last_lines()}")
        time.sleep(0.2)


def get_status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status
    return None


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (so := is_so()) and time.monotonic() < until:
        time.sleep(0.1)
    return so


# ---- what they use -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """MB of one or several processes. `pss` counts what they share once."""

    rss: float
    pss: float


def family(pid: int) -> list[int]:
    """The process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(_stat_fields(stat)[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = _stat_fields(Path(f"/proc/{pid}/stat"))
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def machine_seconds() -> float:
    """CPU time that anybody has used, all cores together."""
    user, nice, system, _idle, _waiting, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    return sum(map(int, (user, nice, system, *interrupts))) / TICKS


def memory(pids: Iterable[int]) -> Memory:
    sums = {"Rss": 0, "Pss": 0}
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in sums:
                    sums[name] += int(rest.split()[0])
    return Memory(rss=sums["Rss"] / 1024, pss=sums["Pss"] / 1024)


def _stat_fields(stat: Path) -> list[str]:
    """From the state on: the name before it may hold spaces and parentheses."""
    return stat.read_text().rpartition(")")[2].split()
