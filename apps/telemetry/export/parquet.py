"""Rows of COPY as Parquet, by a process of its own (`encoder`) that ends with the export."""

import json
import subprocess
import sys
from threading import Thread

from django.conf import settings

from apps.devices.models import DeviceMetric

BLOCK_BYTES = 256 * 1024


class ParquetRows:
    """Takes what COPY writes, a row at a time and a series after the other, and writes a file to `sink`."""

    def __init__(self, sink, series: list[DeviceMetric]):
        self._sink, self._error = sink, None
        self._encoder = subprocess.Popen(
            [sys.executable, "-m", "apps.telemetry.export.encoder"],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=BLOCK_BYTES,
        )
        self._thread = Thread(target=self._pass_on, name="parquet", daemon=True)
        self._thread.start()
        names = [(str(one.device_id), one.device.serial_number, one.metric.name) for one in series]
        self.write(json.dumps(names).encode() + b"\n")

    def __enter__(self) -> "ParquetRows":
        return self

    def __exit__(self, *failure) -> None:
        """Whatever happened, nothing of it goes on running."""
        self._encoder.kill()
        self._thread.join()
        self._encoder.__exit__(*failure)

    def write(self, row: bytes) -> int:
        try:
            return self._encoder.stdin.write(row)
        except BrokenPipeError:
            self._thread.join()
            raise self._error or RuntimeError("The Parquet encoder has ended early.") from None

    def finish(self) -> None:
        self._encoder.stdin.close()
        self._thread.join()
        if self._error:
            raise self._error
        if self._encoder.wait():
            raise RuntimeError(f"The Parquet encoder has failed ({self._encoder.returncode}).")

    def _pass_on(self) -> None:
        try:
            while block := self._encoder.stdout.read1(BLOCK_BYTES):
                self._sink.write(block)
        except Exception as error:  # whoever writes rows is to know, whatever it was
            self._error = error
            self._encoder.kill()
