"""Serves the naive view beside the hub's database."""

from pathlib import Path

from hub import Hub
from processes import ROOT, Process, cpu_seconds, family, free_port, wait_for_http

MISSING = "granian, which serves it, is not installed (pip install -r requirements-dev.txt)"
# (processes, threads each): the obvious ones.
CONFIGURATIONS = ((1, 4), (2, 4))
GRANIAN = ROOT / ".venv/bin/granian"


def is_there() -> bool:
    return GRANIAN.exists()


class NaiveServer:
    """A context: it runs within it."""

    path = "/api/v1/telemetry/"

    def __init__(self, hub: Hub, logs: Path, *, processes: int, threads: int):
        self.port = free_port()
        self._log = logs / "naive.log"
        self._environment = hub.environment | {
            "DJANGO_SETTINGS_MODULE": "naive.settings",
            "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}",
        }
        self._command = [
            *[GRANIAN, "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port)],
            *["--workers", str(processes), "--blocking-threads", str(threads), "naive.wsgi:application"],
        ]

    def __enter__(self) -> "NaiveServer":
        self._process = Process(self._command, environment=self._environment, log=self._log)
        # It has no page to GET: that this is refused tells that it is there.
        wait_for_http(self._process, self.port, self.path, wanted=(401, 403, 405))
        return self

    def __exit__(self, *_) -> None:
        self._process.stop()

    def cpu(self) -> dict[str, float]:
        return {"web": cpu_seconds(family(self._process.pid))}
