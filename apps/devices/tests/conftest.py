import threading
from collections.abc import Callable

import pytest
from django.db import connections


@pytest.fixture
def at_once(transactional_db):
    """`at_once(call, call)` runs each in a thread with a connection of its own; answers their results."""

    def run(*calls: Callable) -> list:
        results: list = [None] * len(calls)
        start = threading.Barrier(len(calls))

        def work(index: int, call: Callable) -> None:
            start.wait()
            try:
                results[index] = call()
            except Exception as error:
                results[index] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work, args=pair) for pair in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        return results

    return run


@pytest.fixture
def error_of():
    """The only error of a 400 answer, as (field, code)."""

    def read(answer) -> tuple[str, str]:
        assert answer.status_code == 400, answer.content
        assert answer["Content-Type"] == "application/problem+json"
        [error] = answer.json()["errors"]
        return error["field"], error["code"]

    return read
