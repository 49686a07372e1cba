"""Tells the rest of the hub that readings came in, in a thread of its own.

Redis or the broker may be slow or away; the writer must not wait for them. Many commits make one nudge.
"""

import threading
import time
from collections.abc import Callable


class Nudger:
    """The first nudge is told at once, those that follow at most every `pause` seconds: a worker that is woken for each
    commit spends more on its transactions than on the readings.
    """

    def __init__(self, tell: Callable[[], None], name: str = "telemetry-nudger", pause: float = 0.0):
        self._tell = tell
        self._name = name
        self._pause = pause
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
            time.sleep(self._pause)
