"""The arithmetic of rate limits, and that Redis and Python agree on it."""

import random
from uuid import uuid4

import pytest

from apps.telemetry.ingest import buckets
from apps.telemetry.ingest.buckets import Ask, InDebt, LocalBuckets
from apps.telemetry.ingest.shared_buckets import SharedBuckets


class TestBuckets:
    def test_full_bucket_lets_in_a_minutes_worth_at_once_and_refills_evenly(self):
        local = LocalBuckets()
        asks = [Ask("a", 60, 1)]
        taken = 0
        while taken < 60:
            taken += sum(local.take(asks, 0.0))

        assert taken == 60
        with pytest.raises(InDebt) as refused:
            local.take(asks, 0.0)
        assert refused.value.waits == [pytest.approx(1.0)]
        assert local.take(asks, 1.0) == [1]

    def test_backlog_goes_through_once_and_the_next_waits_until_its_debt_is_worked_off(self):
        local = LocalBuckets()
        assert local.take([Ask("a", 600, 50_000)], 0.0) == [50_000]

        with pytest.raises(InDebt) as refused:
            local.take([Ask("a", 600, 1)], 0.0)
        [wait] = refused.value.waits
        assert wait == pytest.approx((50_000 - 600 + 1) / 10)
        with pytest.raises(InDebt):
            local.take([Ask("a", 600, 1)], wait - 0.1)
        assert local.take([Ask("a", 600, 1)], wait) == [1]

    def test_nothing_is_taken_where_one_of_several_is_in_debt(self):
        local = LocalBuckets()
        local.take([Ask("a", 60, 100)], 0.0)
        with pytest.raises(InDebt) as refused:
            local.take([Ask("a", 60, 1), Ask("b", 60, 60)], 0.0)

        assert refused.value.waits == [pytest.approx(41.0), 0.0]
        assert local.take([Ask("b", 60, 60)], 0.0) == [60]

    def test_leases_shrink_with_what_is_left_but_not_below_a_tenth_of_a_second(self):
        assert buckets.grant(60_000, 60_000, need=1) == 1001
        assert buckets.grant(30_000, 60_000, need=1) == 501
        assert buckets.grant(1_000, 60_000, need=1) == 101
        assert buckets.grant(10, 60_000, need=1) == 10
        assert buckets.grant(10, 60_000, need=500) == 500

    def test_redis_computes_the_same(self):
        now = 1_800_000_000.0
        names, chance = [f"test:{uuid4()}" for _ in range(3)], random.Random(7)
        local, shared = LocalBuckets(), SharedBuckets(time=lambda: now)
        for _ in range(500):
            now += chance.choice([0, 0, 0.01, 1, 30])
            chosen = chance.sample(list(zip(names, (60, 6_000, 700_001), strict=True)), chance.randint(1, 3))
            asks = [Ask(name, rate, chance.choice([0, 1, 1, 3, rate // 3, rate * 2])) for name, rate in chosen]
            expected, found = outcome(local.take, asks, now), outcome(shared.take, asks, now)
            assert found[0] == expected[0]
            assert found[1] == pytest.approx(expected[1], abs=1.01 if found[0] == "granted" else 1e-4, rel=1e-4)


def outcome(take, asks: list[Ask], now: float) -> tuple[str, list]:
    try:
        return "granted", take(asks, now)
    except InDebt as debt:
        return "in debt", debt.waits
