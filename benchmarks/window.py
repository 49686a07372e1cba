"""A rate is what was finished within a window: after a warm-up that does not count, for so many seconds."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from target import Meter, Result

WARM_UP = 2.0


@dataclass
class Tally:
    """What threads finished: (when, how long it took, values)."""

    finished: list[tuple[float, float, int]] = field(default_factory=list)

    def add(self, began: float, values: int) -> None:
        now = time.perf_counter()
        self.finished.append((now, now - began, values))

    def result(self, part: str, begin: float, end: float) -> Result:
        counted = [entry for entry in self.finished if begin <= entry[0] < end]
        latencies = sorted(1000 * took for _, took, _ in counted) or [float("nan")]
        seconds = end - begin
        return Result(
            part,
            requests=len(counted) / seconds,
            values=sum(values for _, _, values in counted) / seconds,
            mean_ms=sum(latencies) / len(latencies),
            p50_ms=latencies[len(latencies) // 2],
            p99_ms=latencies[int(len(latencies) * 0.99)],
        )


class Stop(Exception):
    """Asks a thread to end."""


def run(
    part: str, work: list[Callable[[threading.Event, Tally], None]], seconds: float, cpu: Callable[[], dict[str, float]]
) -> Result:
    """Each of `work` in a thread, until it is told to stop; what one of them raises is raised here."""
    tally, stop, errors = Tally(), threading.Event(), []
    threads = [threading.Thread(target=_guarded, args=(one, stop, tally, errors), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    try:
        stop.wait(WARM_UP)
        meter, begin = Meter(cpu), time.perf_counter()
        stop.wait(seconds)
        used, end = meter.read(), time.perf_counter()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    result = tally.result(part, begin, end)
    result.cpu = used
    return result


def _guarded(work, stop: threading.Event, tally: Tally, errors: list[BaseException]) -> None:
    try:
        work(stop, tally)
    except BaseException as error:
        errors.append(error)
        stop.set()
