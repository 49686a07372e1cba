"""A PostgreSQL and a Redis of their own, to be killed, hung and started again: an instance of scripts/services.

stores = Stores("test-faults")
stores.start("postgres")
stores.kill("postgres")      # the server and all its children: what a crash of the machine leaves behind
with stores.hung("redis"):   # stopped in the middle of whatever it does; connections stay open
    ...
"""

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.processes import ROOT

SERVICES = ROOT / "scripts" / "services"


class Stores:
    def __init__(self, instance: str):
        self._environment = os.environ | {"IOT_HUB_INSTANCE": instance}
        # Whose servers the tests themselves use is of no interest here.
        for name in ("DATABASE_URL", "REDIS_URL"):
            self._environment.pop(name, None)

    @cached_property
    def urls(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL."""
        return dict(line.split("=", 1) for line in self._services("env").splitlines())

    @property
    def are_installed(self) -> bool:
        """Whether the programs are there; nothing is fetched just to find out."""
        with suppress(subprocess.CalledProcessError, OSError):
            return bool(self._services("exec", "redis-cli", "--version"))
        return False

    def start(self, *names: str) -> None:
        for name in names:
            self._services("start", name)

    def stop(self) -> None:
        self._services("stop")

    def wipe(self) -> None:
        self._services("wipe")

    def kill(self, name: str) -> None:
        pids = self._stop_in_its_tracks(name)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        until = time.monotonic() + 15
        while any(_runs(pid) for pid in pids):
            assert time.monotonic() < until, f"{name} survives SIGKILL"
            time.sleep(0.01)

    @contextmanager
    def hung(self, name: str) -> Iterator[None]:
        pids = self._stop_in_its_tracks(name)
        try:
            yield
        finally:
            for pid in reversed(pids):
                _signal(pid, signal.SIGCONT)

    def _stop_in_its_tracks(self, name: str) -> list[int]:
        """The server first, so that it makes no more children. Returns all their process ids."""
        server = _listener(self._socket(name))
        _signal(server, signal.SIGSTOP)
        pids = [server, *_children(server)]
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        return pids

    def _socket(self, name: str) -> str:
        if name == "redis":
            return unquote(urlsplit(self.urls["REDIS_URL"]).path)
        return parse_qs(urlsplit(self.urls["DATABASE_URL"]).query)["host"][0] + "/.s.PGSQL.5432"

    def _services(self, *arguments: str) -> str:
        return subprocess.run(
            [SERVICES, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=120,
        ).stdout


def _listener(path: str) -> int:
    """The process that listens at a unix socket, as the kernel knows it."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(path)
        pid, _uid, _gid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid


def _children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        state = _state(int(folder.name))
        if state and int(state[1]) == parent:
            found.append(int(folder.name))
    return found


def _runs(pid: int) -> bool:
    state = _state(pid)
    return bool(state) and state[0] not in "ZX"


def _state(pid: int) -> list[str]:
    """Fields of /proc/…/stat from the third on: state, parent and so on. Empty if there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _signal(pid: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, which)
