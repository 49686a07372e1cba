"""Tells the rest of the hub that readings came in, in a thread of its own.

Redis or the broker may be slow or away; the writer must not wait for them. Many commits make one nudge.
"""

import threading
from collections.abc import Callable


class Nudger:
    def __init__(self, tell: Callable[[], None], name: str = "telemetry-nudger"):
        self._tell = tell
        self._name = name
        self._due = threading.Event()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._due.set()

    def _run(self) -> None:
        while self._due.wait():
            self._due.clear()
            self._tell()
