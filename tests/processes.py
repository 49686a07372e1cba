"""The hub's real processes (web, worker, sender, beat), started and killed as an operator could."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import requests
from django.conf import settings
from django.db import connection

from apps.notifications.tests.receivers import free_port, wait_for

ROOT = Path(__file__).resolve().parent.parent


class HubProcesses:
    """`start("web", "worker --concurrency 1")`, `kill("worker")`, … ; all end with `stop()`. Logs lie in `log_dir`.

    They use the database and Redis of the tests unless `environment` names others.
    """

    def __init__(self, log_dir: Path, **environment: str):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_dir = log_dir
        self._environment = os.environ | {
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
            "SECRET_KEY": settings.SECRET_KEY,
            "PORT": str(self.port),
            "PREPARE_ON_START": "false",
            "WORKER_CONCURRENCY": "2",
            **environment,
        }
        self._running: dict[str, subprocess.Popen] = {}

    def run(self, *command: str) -> None:
        """`./entrypoint.sh prepare` or any other command, to its end."""
        done = subprocess.run(
            [ROOT / "entrypoint.sh", *command],
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *commands: str) -> None:
        """What the entrypoint knows, with arguments. A worker that is told nothing else does everything."""
        for command in commands:
            name, *arguments = command.split()
            log = (self._log_dir / f"{name}.log").open("ab")
            with log:
                self._running[name] = subprocess.Popen(
                    [ROOT / "entrypoint.sh", name, *arguments],
                    env=self._environment,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its children: nobody gets to clean up."""
        self._end(self._running.pop(name), signal.SIGKILL)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def ended(self) -> list[str]:
        """Those that should run and don't."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def stop(self) -> None:
        for process in self._running.values():
            self._end(process, signal.SIGTERM)
        self._running.clear()

    def wait_until_live(self) -> None:
        wait_for(self._is_live, seconds=30)

    def log(self, name: str) -> str:
        return (self._log_dir / f"{name}.log").read_text()

    def _is_live(self) -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        return False

    @staticmethod
    def _end(process: subprocess.Popen, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


def database_url() -> str:
    """The address of the database that the tests use, for other processes."""
    config = connection.settings_dict
    login = quote(config["USER"] or "", safe="")
    if config["PASSWORD"]:
        login += ":" + quote(config["PASSWORD"], safe="")
    place = config["HOST"] + (f":{config['PORT']}" if config["PORT"] else "")
    options = {name: value for name, value in config["OPTIONS"].items() if isinstance(value, str)}
    return f"postgresql://{login}@{place}/{config['NAME']}?{urlencode(options)}"
