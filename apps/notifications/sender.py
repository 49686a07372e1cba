"""Empties the queue: claims in batches, sends in threads, settles in batches.

The database is used by the calling thread alone; the threads hold nothing but messages.
"""

import math
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from django.utils import timezone

from apps.notifications import lanes as lanes_of_process
from apps.notifications import sending
from apps.notifications.lanes import Lanes

# Outlives a sweep: a receiver that hung a moment ago is not believed to have recovered since.
LANES = Lanes()
LOOK_SECONDS = 0.5  # for new work, while slow sends are under way
CLAIMED_AT_ONCE = 64  # more would be read for lanes that have no room for them
GATHER_SECONDS = 0.04  # one transaction for what ends within it is what makes hundreds a second


class Sender:
    def __init__(self, lanes: Lanes = LANES):
        self._lanes = lanes
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._under_way: dict[Future, str] = {}

    def run(self, *, seconds: float, grace: float = math.inf) -> int:
        """Send what is due until nothing is left or the time is over. How many attempts were made.

        What does not come to an end within `grace` after that is left to itself: its claim lapses.
        """
        until, attempts = time.monotonic() + seconds, 0
        try:
            while self._claim(may_take_more=time.monotonic() < until) or self._under_way:
                attempts += self._settle()
                if time.monotonic() > until + grace:
                    break
            return attempts
        finally:
            self._abandon()

    def _claim(self, *, may_take_more: bool) -> bool:
        room = min(self._lanes.room_in_all(), CLAIMED_AT_ONCE)
        if not may_take_more or not room:
            return False
        blocked = self._lanes.blocked()
        mine = sending.claim(now=timezone.now(), limit=room, blocked_lanes=blocked, enter=self._lanes.enter)
        for claimed in mine:
            lane = claimed.delivery.lane
            self._under_way[self._pool(lane).submit(sending.send, claimed)] = lane
        return bool(mine)

    def _pool(self, lane: str) -> ThreadPoolExecutor:
        if lane not in self._threads:
            self._threads[lane] = ThreadPoolExecutor(lanes_of_process.AT_ONCE, thread_name_prefix="send")
        return self._threads[lane]

    def _settle(self) -> int:
        done, others = wait(self._under_way, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        if done and others:
            done, _ = wait(self._under_way, timeout=GATHER_SECONDS)
        results = [future.result() for future in done]
        for future, result in zip(done, results, strict=True):
            hung = result.failure is not None and result.status is None and not result.failure.permanent
            self._lanes.leave(self._under_way.pop(future), reached=not hung)
        sending.settle(results)
        return len(results)

    def _abandon(self) -> None:
        """At the end nothing is under way; otherwise the claims lapse, and others take over."""
        for lane in self._under_way.values():
            self._lanes.leave(lane, reached=True)
        self._lanes.forget_idle()
        self._under_way.clear()
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)
