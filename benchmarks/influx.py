"""InfluxDB 1, with its own defaults for durability: each write is on disk before its answer."""

import http.client
import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from hub import bare_environment
from messages import METRICS
from processes import Process, cpu_seconds, family, free_port, wait_for_http

MISSING = "influxd is not on this machine (Debian: apt-get install influxdb)"
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


def version() -> str:
    return subprocess.run(["influxd", "version"], capture_output=True, text=True, timeout=10).stdout.split()[1]


class Influx:
    """A context: it runs within it. As a store it holds points in the database `bench`."""

    path = "/write?db=bench"

    def __init__(self, folder: Path):
        self.port = free_port()
        self._folder = folder

    def __enter__(self) -> "Influx":
        config = self._folder / "influxdb.conf"
        config.write_text(CONFIG.format(rpc=free_port(), port=self.port, folder=self._folder))
        self._process = Process(
            ["influxd", "-config", config], environment=bare_environment(), log=self._folder / "influxd.log"
        )
        wait_for_http(self._process, self.port, "/ping")
        return self

    def __exit__(self, *_) -> None:
        self._process.stop()
        for name in ("meta", "data", "wal"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def clear(self) -> None:
        self.ask("DROP DATABASE bench")
        self.ask("CREATE DATABASE bench")

    def count(self) -> int:
        series = self.ask(f"SELECT count({METRICS[0]}) FROM bench")["results"][0].get("series")
        return series[0]["values"][0][1] * len(METRICS) if series else 0

    def cpu(self) -> dict[str, float]:
        return {"influxd": cpu_seconds(family(self._process.pid))}

    def ask(self, question: str) -> dict:
        return json.loads(self.post("/query?" + urlencode({"db": "bench", "q": question, "epoch": "ms"})))

    def post(self, path: str, body: bytes | memoryview = b"") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise SystemExit(f"InfluxDB refused {path[:200]}: {content[:500].decode(errors='replace')}")
        return content
