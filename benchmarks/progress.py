"""One line per part: on a terminal with the time that runs, elsewhere when it is over."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    def __init__(self):
        self._on_terminal = sys.stdout.isatty()

    def say(self, line: str) -> None:
        print(line, flush=True)

    @contextmanager
    def part(self, name: str) -> Iterator[Callable[[str], None]]:
        """Within it, what is told to the function given stands behind the name."""
        begin, told, over = time.monotonic(), [], threading.Event()

        def line() -> str:
            return f"  {name:<28} {time.monotonic() - begin:5.1f} s  {', '.join(told)}"

        ticker = threading.Thread(target=self._tick, args=(line, over), daemon=True)
        if self._on_terminal:
            ticker.start()
        try:
            yield told.append
        finally:
            over.set()
            if self._on_terminal:
                ticker.join()
                print("\r\033[K", end="")
            self.say(line())

    def _tick(self, line: Callable[[], str], over: threading.Event) -> None:
        while not over.wait(0.2):
            print(f"\r\033[K{line()[:120]}", end="", flush=True)


class Bar:
    """`bar(done)` as often as you like: a bar with rate and time left; without a terminal, a line at the end."""

    WIDTH = 30

    def __init__(self, what: str, total: int):
        self._what, self._total, self._begin = what, total, time.monotonic()
        self._on_terminal = sys.stdout.isatty()

    def __call__(self, done: int) -> None:
        seconds = time.monotonic() - self._begin
        is_over = done >= self._total
        if self._on_terminal:
            filled = "█" * (self.WIDTH * min(done, self._total) // self._total)
            left = seconds * self._total / max(done, 1) - seconds
            line = f"\r\033[K  {filled:░<{self.WIDTH}} {self._rate(done, seconds)}, {left:.0f} s left"
            print(line, end="\n" if is_over else "", flush=True)
        elif is_over:
            print(f"  {self._rate(done, seconds)}, {seconds:.0f} s", flush=True)

    def _rate(self, done: int, seconds: float) -> str:
        return f"{done:,} {self._what}, {done / max(seconds, 0.001):,.0f}/s"
