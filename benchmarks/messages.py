"""What the load consists of: 500 devices with three metrics each, one message of each device every millisecond.

Every text has a fixed width, so a body is a template in which only times are replaced, which costs next to nothing.
"""

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

DEVICES = 500
METRICS = ("temperature", "vibration", "pressure")
SERIES = DEVICES * len(METRICS)
BATCH_MESSAGES = 1000
BATCH_VALUES = BATCH_MESSAGES * len(METRICS)
# Every 20th series is watched, and one value in 12,000 crosses the threshold.
WATCHED_EVERY = 20
LOW, HIGH, THRESHOLD = 20.0, 80.0, 79.99
# So dense that no load catches up with the clock: the readings are live ones, whose hours are still open.
STEP_MS = 1
BEHIND_MS = 60_000
TEMPLATES = 50


def serial_number(device: int) -> str:
    return f"BENCH-{device:04d}"


class Timeline:
    """Times that go forward, about a minute behind the clock. A step is a time at which every device speaks once;
    none is handed out twice.
    """

    def __init__(self):
        self._next = 0
        self._lock = threading.Lock()

    def take(self, steps: int) -> int:
        """The first of so many steps, in ms since 1970."""
        now = int(time.time() * 1000)
        with self._lock:
            first = max(self._next, now - BEHIND_MS)
            self._next = first + steps * STEP_MS
        if self._next > now + BEHIND_MS:
            raise SystemExit("The load has overtaken the clock; that is more than devices can say.")
        return first


class Batches:
    """Requests of 1,000 messages, whole: head and body."""

    steps = BATCH_MESSAGES // DEVICES

    def __init__(self, form: str, head: bytes):
        self._form = form
        rng = random.Random(1)
        bodies = [_template(form, self.steps, rng) for _ in range(TEMPLATES)]
        self._templates = [head + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies]

    def requests(self, timeline: Timeline) -> Iterator[bytes]:
        while True:
            for template in self._templates:
                yield self._filled(template, timeline.take(self.steps))

    def _filled(self, template: bytes, first: int) -> bytes:
        for step in range(self.steps):
            template = template.replace(_blank(self._form, step), time_text(self._form, first + step * STEP_MS))
        return template


def time_text(form: str, ms: int) -> bytes:
    if form == "lines":
        return b"%d000000" % ms
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:23].encode() + b"Z"


def _blank(form: str, step: int) -> bytes:
    """Stands where a time will be, and is as long."""
    return b"#%d" % step + b"#" * (17 if form == "lines" else 22)


def _template(form: str, steps: int, rng: random.Random) -> bytes:
    make, joint, ends = (_line, "\n", "") if form == "lines" else (_message, ",", "[]")
    parts = [
        make(serial_number(device), _blank(form, step).decode(), rng)
        for step in range(steps)
        for device in range(DEVICES)
    ]
    return (ends[:1] + joint.join(parts) + ends[1:]).encode()


def _message(serial: str, at: str, rng: random.Random) -> str:
    metrics = ",".join(f'"{metric}":{_value(rng)}' for metric in METRICS)
    return f'{{"serial_number":"{serial}","timestamp":"{at}","metrics":{{{metrics}}}}}'


def _line(serial: str, at: str, rng: random.Random) -> str:
    fields = ",".join(f"{metric}={_value(rng)}" for metric in METRICS)
    return f"bench,serial_number={serial} {fields} {at}"


def _value(rng: random.Random) -> str:
    return f"{rng.uniform(LOW, HIGH):.2f}"
