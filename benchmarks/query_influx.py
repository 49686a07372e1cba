"""The same readings in InfluxDB 1, if it is on this machine, asked over HTTP."""

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from query_store import END, START

BATCH = 20_000
CONFIG = """
reporting-enabled = false
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
"""


def is_there() -> bool:
    return shutil.which("influxd") is not None


class Influx:
    def __enter__(self) -> "Influx":
        self._folder = tempfile.TemporaryDirectory()
        self._port = _free_port()
        config = Path(self._folder.name) / "influxdb.conf"
        config.write_text(CONFIG.format(rpc=_free_port(), port=self._port, folder=self._folder.name))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(["influxd", "-config", config], **quiet)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.ask("CREATE DATABASE bench")
            except OSError:
                time.sleep(0.2)
            else:
                return self
        raise SystemExit("influxd does not answer.")

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

    def ask(self, query: str) -> dict:
        return json.loads(self._call("POST", f"/query?{urlencode({'db': 'bench', 'q': query, 'epoch': 'ms'})}"))

    def fill(self) -> None:
        """Copied from the hub's database in the order of time."""
        from django.db import connection, transaction

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "DECLARE readings NO SCROLL CURSOR FOR SELECT 't,s=' || device_metric_id || ' v=' || value_numeric"
                " || ' ' || (extract(epoch FROM ts) * 1000)::bigint FROM telemetry"
            )
            while True:
                cursor.execute(f"FETCH {BATCH} FROM readings")
                lines = cursor.fetchall()
                if not lines:
                    return
                self._call("POST", "/write?db=bench&precision=ms", "\n".join(line for (line,) in lines))

    def queries(self, series_id: int) -> dict[str, str]:
        """By the name of the hub's query."""
        functions = "mean(v), min(v), max(v), count(v)"
        month, day = END - timedelta(days=30), END - timedelta(days=1)
        return {
            "last 1,000 of a series": f"SELECT v FROM t WHERE s = '{series_id}' ORDER BY time DESC LIMIT 1000",
            "one series by hour, a month": f"SELECT {functions} FROM t WHERE s = '{series_id}' AND {_from(month)}"
            " GROUP BY time(1h)",
            "all series by hour, a day": f"SELECT {functions} FROM t WHERE {_from(day)} GROUP BY time(1h), s",
            "latest of all series": "SELECT last(v) FROM t GROUP BY s",
            "one series by day, a year": f"SELECT {functions} FROM t WHERE s = '{series_id}' AND {_from(START)}"
            " GROUP BY time(1d)",
        }

    def _call(self, method: str, path: str, body: str = "") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.request(method, path, body.encode())
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise SystemExit(f"InfluxDB answers {answer.status}: {content[:200]!r}")
        return content


def _from(start) -> str:
    return f"time >= '{start:%Y-%m-%dT%H:%M:%SZ}' AND time < '{END:%Y-%m-%dT%H:%M:%SZ}'"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
