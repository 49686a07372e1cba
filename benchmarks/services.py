"""A PostgreSQL and a Redis of the benchmark's own, as durable as those of a hub, wiped before and after."""

import fcntl
import subprocess
from pathlib import Path

import psycopg2
from processes import ROOT, wait_until

SCRIPT = ROOT / "scripts" / "services"
INSTANCE = {"IOT_HUB_INSTANCE": "bench", "IOT_HUB_DURABLE": "1"}
LOCK = ROOT / ".local" / "bench.lock"


class Services:
    """A context: both servers run within it."""

    def __init__(self, environment: dict[str, str]):
        self._environment = environment | INSTANCE
        self.addresses: dict[str, str] = {}

    def __enter__(self) -> "Services":
        LOCK.parent.mkdir(exist_ok=True)
        self._lock = LOCK.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("Another benchmark runs in this checkout; two at once would measure each other.") from None
        self._call("wipe")
        try:
            self._call("start")
        except BaseException:
            self._call("wipe")
            raise
        lines = self._call("env").splitlines()
        self.addresses = dict(line.split("=", 1) for line in lines)
        return self

    def __exit__(self, *_) -> None:
        self._call("wipe")
        self._lock.close()

    def restart(self) -> None:
        """For what PostgreSQL asks at its start only."""
        self._call("stop")
        self._call("start")

    def _call(self, command: str) -> str:
        # In a session of its own: an interrupted start or stop would leave half of it.
        done = subprocess.run(
            [SCRIPT, command],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
            start_new_session=True,
        )
        if done.returncode:
            raise SystemExit(f"scripts/services {command} failed: {done.stdout}{done.stderr}")
        return done.stdout


class Database:
    """The hub's database as the benchmark looks at it, from outside the hub."""

    def __init__(self, url: str):
        self._url = url
        self._connection = self.connect()
        self._connection.autocommit = True

    def connect(self):
        return psycopg2.connect(self._url)

    def ask(self, sql: str, *params):
        """The first value of the first row."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone()[0]

    def do(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def count(self) -> int:
        return self.ask("SELECT count(*) FROM telemetry")

    def clear(self) -> None:
        """Every part begins with an empty table, and with no checkpoint of another part's rows before it."""
        self.do("TRUNCATE telemetry")
        self.do("CHECKPOINT")

    def not_judged(self) -> int:
        return self.ask("SELECT count(*) FROM watched_batches WHERE error = ''")

    def wait_until_judged(self, seconds: float = 60) -> None:
        wait_until(lambda: not self.not_judged(), seconds)

    def postmaster(self) -> int:
        folder = Path(self.ask("SHOW data_directory"))
        return int((folder / "postmaster.pid").read_text().splitlines()[0])

    def settings(self) -> dict[str, str]:
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        found = {name: self.ask("SELECT current_setting(%s)", name) for name in names}
        found["timescaledb"] = self.ask("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        found["timescaledb license"] = self.ask("SELECT current_setting('timescaledb.license')")
        return found

    def close(self) -> None:
        self._connection.close()
