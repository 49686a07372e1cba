"""When keys were last used: noted with every request, written by another thread."""

import threading
from datetime import UTC, datetime

from apps.devices import services as device_services

# A key's row is written at most so often by a process: writing it for every request would cost more than a reading.
EVERY_SECONDS = 60.0
MAX_NOTED = 100_000


class KeyUse:
    def __init__(self):
        self._noted: dict[int, float] = {}
        self._due: dict[int, float] = {}
        self._lock = threading.Lock()

    def note(self, key_id: int, now: float) -> None:
        """`now` in seconds since 1970."""
        if now - self._noted.get(key_id, 0.0) < EVERY_SECONDS:
            return
        with self._lock:
            if len(self._noted) >= MAX_NOTED:
                self._noted.clear()
            self._noted[key_id] = self._due[key_id] = now

    def write(self) -> None:
        """Whatever is due, in one statement. What could not be written stays due."""
        with self._lock:
            due, self._due = self._due, {}
        if not due:
            return
        try:
            device_services.note_key_uses(uses={pk: datetime.fromtimestamp(at, UTC) for pk, at in due.items()})
        except Exception:
            with self._lock:
                self._due = due | self._due
            raise
