"""The hub under load: its real processes, started as an operator starts them."""

import json
import os
import secrets
import subprocess
from pathlib import Path

from processes import ROOT, Memory, Process, cpu_seconds, family, free_port, memory, wait_for_http
from services import Database

# On, and wide enough to let the load pass: what counts is that they are asked.
RATE_LIMITS = {
    "INGEST_RATE_LIMIT": "60000000",
    "INGEST_RATE_LIMIT_READINGS": "200000000",
    "INGEST_OWNER_RATE_LIMIT": "60000000",
    "INGEST_OWNER_RATE_LIMIT_READINGS": "200000000",
}


def bare_environment() -> dict[str, str]:
    """Without what the caller may have set for a hub of his own."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM", "TZ") if name in os.environ}


class Hub:
    def __init__(self, addresses: dict[str, str], logs: Path):
        self.port = free_port()
        self._logs = logs
        self.environment = bare_environment() | addresses | RATE_LIMITS
        self.environment |= {
            "CELERY_BROKER_URL": "",
            "DATABASE_REPLICA_URL": "",
            "ENABLE_SEED_DATA": "false",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PREPARE_ON_START": "false",
            "PYTHONPATH": str(ROOT),
            "SECRET_KEY": secrets.token_urlsafe(48),
            "WORKER_LOG_LEVEL": "WARNING",
        }
        self._running: dict[str, Process] = {}
        self.web_processes = 0

    def prepare(self, *of_fleet: str) -> tuple[str, list[int]]:
        """Schema and fleet, with the arguments of `fleet.py`. Returns the key and the ids of the series."""
        self._call("prepare")
        told = json.loads(self._call("python", "benchmarks/fleet.py", *of_fleet).splitlines()[-1])
        return told["key"], told["series"]

    def start(self, web_processes: int) -> None:
        """Does nothing where it runs with as many already."""
        if self.web_processes == web_processes:
            return
        self.stop()
        environment = self.environment | {"WEB_WORKERS": str(web_processes)}
        for name in ("web", "worker", "beat"):
            command = [ROOT / "entrypoint.sh", name]
            self._running[name] = Process(command, environment=environment, log=self._logs / f"{name}.log")
        self.web_processes = web_processes
        wait_for_http(self._running["web"], self.port, "/readyz")

    def stop(self) -> None:
        for process in self._running.values():
            process.stop()
        self._running.clear()
        self.web_processes = 0

    def cpu(self) -> dict[str, float]:
        """Seconds used so far."""
        used = {name: cpu_seconds(family(process.pid)) for name, process in self._running.items()}
        used["worker"] = used.get("worker", 0) + used.pop("beat", 0)
        return used

    def web_memory(self) -> Memory:
        """Of all web processes, and what watches over them if there are several."""
        return memory(family(self._running["web"].pid))

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [ROOT / "entrypoint.sh", *arguments],
            env=self.environment | {"DJANGO_SETTINGS_MODULE": "iot_hub.settings"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            start_new_session=True,
        )
        if done.returncode:
            raise SystemExit(f"entrypoint.sh {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done.stdout


class Usage:
    """CPU seconds by name, for a database and whatever else is given."""

    def __init__(self, database: Database, other):
        self._database = database
        self._other = other

    def __call__(self) -> dict[str, float]:
        return self._other() | {"postgres": cpu_seconds(family(self._database.postmaster()))}
