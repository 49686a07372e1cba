"""What was sent, and what the receipts say of it."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.feeds import Body, Feed

Span = tuple[float, float]


@dataclass
class Account:
    """What is known of one feed. Bodies are known by their first place."""

    feed: Feed
    sent: int = 0
    counted: set[int] = field(default_factory=set)  # some receipt counted their readings as accepted
    uncounted: dict[int, Body] = field(default_factory=dict)  # acknowledged, but never counted
    excused: set[int] = field(default_factory=set)  # an attempt failed: its receipt may have been lost
    abandoned: dict[int, Body] = field(default_factory=dict)  # never acknowledged: may be there or not
    versions: dict[int, int] = field(default_factory=dict)  # of readings that were overwritten
    accepted: int = 0


class Ledger:
    """For all senders. `wrong` are sentences about what must not happen; `log` lists every attempt."""

    def __init__(self, log: Path):
        self.accounts: dict[str, Account] = {}
        self.wrong: list[str] = []
        self.attempts = 0
        self.failures = 0
        self._spans: dict[tuple[str, int], Span] = {}  # of requests that were answered and not counted
        self._lock = threading.Lock()
        self._log = log.open("w", buffering=1)

    def open_account(self, feed: Feed) -> Account:
        return self.accounts.setdefault(feed.serial_number, Account(feed))

    def close(self) -> None:
        self._log.close()

    def note_failure(self, account: Account, body: Body, began: float, reason: str) -> None:
        with self._lock:
            self._write(account, body, began, reason)
            self.failures += 1
            if body.fresh:
                account.excused.add(body.first)

    def note_abandoned(self, account: Account, body: Body) -> None:
        with self._lock:
            account.abandoned[body.first] = body
            account.sent = max(account.sent, body.first + body.count)

    def note_receipt(self, account: Account, body: Body, began: float, receipt: dict) -> None:
        counts = {name: receipt[name] for name in ("accepted", "duplicates", "updated", "rejected_count")}
        with self._lock:
            self._write(account, body, began, " ".join(f"{name}={count}" for name, count in counts.items() if count))
            self._check_sums(account, body, counts)
            self._count(account, body, began, counts["accepted"])
            account.sent = max(account.sent, body.first + body.count)
            if body.overwrite:
                account.versions |= dict.fromkeys(body.places, body.version)

    def complain(self, sentence: str) -> None:
        with self._lock:
            self.wrong.append(sentence)

    def _check_sums(self, account: Account, body: Body, counts: dict[str, int]) -> None:
        known = body.count * body.per_message - counts["accepted"]
        expected = {"duplicates": known, "updated": 0, "rejected_count": 0}
        if body.overwrite:
            expected |= {"duplicates": 0, "updated": known}
        all_or_none = counts["accepted"] in (0, body.fresh * body.per_message)
        if not all_or_none or any(counts[name] != number for name, number in expected.items()):
            self.wrong.append(f"{_name(account, body)} ({body.fresh} of them new) got the receipt {counts}")

    def _count(self, account: Account, body: Body, began: float, accepted: int) -> None:
        account.accepted += accepted
        if not body.fresh:
            return
        if not accepted:
            if body.first not in account.counted:
                account.uncounted[body.first] = body
                self._spans[account.feed.serial_number, body.first] = (began, time.monotonic())
            return
        if body.first in account.counted:
            self.wrong.append(f"{_name(account, body)} was counted as accepted twice")
        account.counted.add(body.first)
        account.uncounted.pop(body.first, None)

    def _write(self, account: Account, body: Body, began: float, outcome: str) -> None:
        self.attempts += 1
        now = time.monotonic()
        self._log.write(f"{now:.3f} {_name(account, body)}: {outcome} ({now - began:.3f} s)\n")

    def unexplained(self, crashes: list[Span]) -> list[str]:
        """Bodies that no receipt counted although none was lost: neither cut off nor under way in a crash."""
        found = []
        for account in self.accounts.values():
            for first, body in account.uncounted.items():
                began, ended = self._spans[account.feed.serial_number, first]
                in_crash = any(began <= up and ended >= down for down, up in crashes)
                if first not in account.excused and not in_crash:
                    found.append(f"{_name(account, body)} was never counted as accepted")
        return found


def _name(account: Account, body: Body) -> str:
    return f"{account.feed.serial_number} {body.first}+{body.count}"
