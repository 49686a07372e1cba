"""Batches of 1,000 messages over keep-alive connections, by threads of this process that do as little as they can."""

import json
import socket
import time
from contextlib import closing
from itertools import islice

import window
from messages import BATCH_VALUES, Batches, Timeline
from target import Failure, Result, Target

TIMEOUT = 60
# Requests made before the clock runs; beyond them they are made on the way, which takes 0.1 ms each.
PREPARED_PER_SECOND = 300
MOST_PREPARED = 6000


class Connection:
    """HTTP/1.1 as far as our own servers speak it."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, request: bytes) -> tuple[int, bytes]:
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _content_length(head)
        while len(body) < length:
            body += self._more()
        return int(head[9:12]), body

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise Failure("The server closed the connection in the middle of an answer.")
        return part


class Receipts:
    """What servers said they had stored, and what else they said."""

    def __init__(self, form: str):
        self._form = form
        self.stored: list[int] = []
        self.failed: list[str] = []

    def add(self, status: int, body: bytes) -> int:
        """How many values were stored."""
        if self._form == "json" and status in (201, 207):
            stored = json.loads(body)["accepted"]
        else:
            stored = BATCH_VALUES if status == 204 else 0
        self.stored.append(stored)
        if stored != BATCH_VALUES:
            self.failed.append(f"{status} {body[:200].decode(errors='replace')}")
        return stored


def measure(part: str, target: Target, timeline: Timeline, *, connections: int, seconds: float) -> Result:
    """Raises Failure where the table doesn't hold what the receipts say, or where anything was refused."""
    source = Batches(target.form, target.head.encode()).requests(timeline)
    prepared = min(int(PREPARED_PER_SECOND * (seconds + window.WARM_UP)), MOST_PREPARED)
    requests = _Requests(list(islice(source, prepared)), source)
    receipts = Receipts(target.form)
    target.store.clear()
    result = window.run(
        part,
        [_sender(target, requests, receipts) for _ in range(connections)],
        seconds,
        lambda: target.cpu() | {"generator": time.process_time()},
    )
    result.connections = connections
    result.failed = len(receipts.failed)
    if receipts.failed:
        result.note = f"first refusal: {receipts.failed[0][:100]}"
    _check(part, sum(receipts.stored), target.store.count())
    return result


class _Requests:
    """Handed out to several threads, each once."""

    def __init__(self, prepared: list[bytes], further):
        self._prepared = prepared[::-1]
        self._further = further

    def next(self) -> bytes:
        try:
            return self._prepared.pop()
        except IndexError:
            return next(self._further)


def _sender(target: Target, requests: _Requests, receipts: Receipts):
    def work(stop, tally) -> None:
        with closing(Connection(target.port)) as connection:
            while not stop.is_set():
                request, began = requests.next(), time.perf_counter()
                tally.add(began, receipts.add(*connection.post(request)))

    return work


def _check(part: str, said: int, found: int) -> None:
    if said != found:
        raise Failure(f"{part}: the receipts say {said:,} values and the table holds {found:,}.")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
