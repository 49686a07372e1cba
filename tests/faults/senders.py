"""Devices that send over sockets and don't give up: what fails is sent again, byte for byte."""

import http.client
import json
import threading
import time
from random import Random

from tests.faults.feeds import Body, Feed
from tests.faults.ledger import Ledger
from tests.faults.plans import Plan

# A hub that is being killed takes its time; one that takes longer than this does not answer at all.
PATIENCE = 60
PATH = "/api/v1/telemetry/"


class Client:
    """One connection, opened anew after a failure. `timeout` is for each wait at the socket, in seconds."""

    def __init__(self, port: int, timeout: float = PATIENCE):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def post(self, body: Body) -> tuple[int, dict, float]:
        """Status, document and the seconds of Retry-After. Raises OSError or HTTPException."""
        try:
            self._connection.request(
                "POST",
                PATH + ("?on_conflict=overwrite" if body.overwrite else ""),
                body.content,
                body.headers,
            )
            answer = self._connection.getresponse()
            document = json.loads(answer.read())
        except BaseException:
            self._connection.close()
            raise
        return answer.status, document, float(answer.headers.get("Retry-After", 0))

    def close(self) -> None:
        self._connection.close()


class Sender(threading.Thread):
    """Sends the bodies of a plan, `pace` seconds apart, until `stop()`; then the last one until it is acknowledged.

    One that `gives_up` never repeats a body.
    """

    def __init__(
        self, feed: Feed, plan: Plan, ledger: Ledger, port: int, random: Random, *, pace: float, gives_up: bool = False
    ):
        super().__init__(name=feed.serial_number, daemon=True)
        self._bodies = plan(feed, random)
        self._client = Client(port)
        self._ledger = ledger
        self._account = ledger.open_account(feed)
        self._pace = pace
        self._gives_up = gives_up
        self._stopping = threading.Event()
        self._abandoned = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.wait(self._pace):
                self._deliver(next(self._bodies))
        except Exception as error:
            self._ledger.complain(f"{self.name} broke: {error!r}")
        finally:
            self._client.close()

    def stop(self) -> None:
        self._stopping.set()

    def finish(self, until: float) -> None:
        """After `stop`: wait for the last receipt."""
        self.join(max(0, until - time.monotonic()))
        if self.is_alive():
            self._abandoned.set()
            self._ledger.complain(f"{self.name} got no receipt for its last body")

    def _deliver(self, body: Body) -> None:
        while not self._abandoned.is_set():
            began = time.monotonic()
            failure, pause = self._attempt(body, began)
            if not failure:
                return
            self._ledger.note_failure(self._account, body, began, failure)
            time.sleep(pause)
            if self._gives_up:
                self._ledger.note_abandoned(self._account, body)
                return

    def _attempt(self, body: Body, began: float) -> tuple[str, float]:
        """Why it failed, or nothing, and when to try again."""
        try:
            status, document, retry_after = self._client.post(body)
        except TimeoutError:
            self._ledger.complain(f"{self.name} got no answer within {PATIENCE} seconds")
            return "no answer", 0.1
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, 0.1
        if status == 201:
            self._ledger.note_receipt(self._account, body, began, document)
            return "", 0
        if status != 503 or not retry_after:
            self._ledger.complain(f"{self.name} was answered {status} {document}, Retry-After {retry_after}")
        # Sooner than told: the moments after a restart are what this is about.
        return f"{status}", min(retry_after, 0.3)
