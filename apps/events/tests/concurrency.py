"""Work done at the same time by threads that have a database connection each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(work: Callable[[], Any], times: int = 2) -> list[Any]:
    """What `work` answered, called `times` times at once. Needs a transactional test."""
    start = Barrier(times)

    def run(_):
        try:
            connection.ensure_connection()
            start.wait(timeout=10)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))
