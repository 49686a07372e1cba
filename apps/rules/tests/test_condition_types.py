"""What each type of condition says of samples. Pure: no database."""

import pytest

from apps.rules.conditions import Verdict, parse

SECOND = 1_000_000
MINUTE = 60 * SECOND

HOLDS, BETWEEN, CLEAR = Verdict.HOLDS, Verdict.BETWEEN, Verdict.CLEAR


def verdicts(document, *samples):
    """Of (minute, value) samples, in order."""
    condition, memory = parse(document), {}
    return [condition.observe(memory, round(minute * MINUTE), value) for minute, value in samples]


def row(*values):
    return list(enumerate(values))


def test_range_holds_outside_and_clears_a_margin_inside():
    document = {"type": "range", "low": 2, "high": 8, "clear_margin": 1}

    assert verdicts(document, *row(1.0, 2.0, 3.0, 8.0, 9.0)) == [HOLDS, BETWEEN, CLEAR, BETWEEN, HOLDS]


def test_range_can_hold_inside():
    document = {"type": "range", "mode": "inside", "low": 2, "high": 8, "clear_margin": 1}

    assert verdicts(document, *row(5.0, 8.5, 9.5)) == [HOLDS, BETWEEN, CLEAR]


def test_rate_of_change_is_per_unit_of_time():
    document = {"type": "rate_of_change", "operator": "gt", "threshold": 5, "per": "minute"}

    assert verdicts(document, (0, 0.0), (1, 6.0), (3, 14.0)) == [BETWEEN, HOLDS, CLEAR]


def test_counter_that_falls_was_reset():
    document = {"type": "rate_of_change", "operator": "lt", "threshold": 0, "per": "hour"}

    assert verdicts(document, *row(100.0, 3.0)) == [BETWEEN, HOLDS]
    assert verdicts(document | {"counter": True}, *row(100.0, 3.0)) == [BETWEEN, CLEAR]


@pytest.mark.parametrize(
    ("function", "threshold", "expected"),
    [
        ("avg", 20, [CLEAR, CLEAR, HOLDS]),
        ("min", 15, [CLEAR, CLEAR, HOLDS]),
        ("max", 25, [CLEAR, CLEAR, HOLDS]),
        ("sum", 45, [CLEAR, CLEAR, HOLDS]),
        ("count", 1, [CLEAR, HOLDS, HOLDS]),
    ],
)
def test_aggregate_is_of_the_window_that_ends_with_the_sample(function, threshold, expected):
    document = {"type": "aggregate", "function": function, "window": "5m", "operator": "gt", "threshold": threshold}

    assert verdicts(document, (0, 10.0), (4, 20.0), (6, 30.0)) == expected


def test_few_readings_count_as_few_once_the_window_was_watched_in_full():
    document = {"type": "aggregate", "function": "count", "window": "5m", "operator": "lt", "threshold": 3}

    assert verdicts(document, (0, 1.0), (1, 1.0), (6, 1.0)) == [BETWEEN, BETWEEN, HOLDS]


def test_aggregate_waits_for_enough_samples():
    document = {"type": "aggregate", "function": "avg", "window": "5m", "operator": "gt", "threshold": 0}

    assert verdicts(document | {"min_samples": 2}, *row(1.0, 1.0)) == [BETWEEN, HOLDS]


def test_memory_of_a_window_does_not_grow_with_the_readings():
    condition, memory = (
        parse({"type": "aggregate", "function": "avg", "window": "5m", "operator": "gt", "threshold": 0}),
        {},
    )
    for second in range(3000):
        condition.observe(memory, second * SECOND, 1.0)

    assert len(memory["parts"]) <= 60


def test_stuck_is_the_same_value_so_many_times_in_a_row():
    assert verdicts({"type": "stuck", "count": 3}, *row(5.0, 5.0, 5.0, 5.0, 6.0)) == [CLEAR, CLEAR, HOLDS, HOLDS, CLEAR]
    assert verdicts({"type": "stuck", "count": 2}, *row("on", "on", "off")) == [CLEAR, HOLDS, CLEAR]


class TestSilence:
    def condition(self, **more):
        return parse({"type": "no_data"} | more)

    def heard(self, condition, *minutes):
        memory, last = {}, None
        for minute in minutes:
            condition.hear(memory, last, round(minute * MINUTE), round(minute * MINUTE))
            last = round(minute * MINUTE)
        return memory

    def test_fixed_time_counts_from_what_was_heard_last(self):
        condition = self.condition(after="10m")

        assert condition.due(self.heard(condition, 0, 3)) == 13 * MINUTE

    def test_rhythm_is_not_known_from_a_few_readings(self):
        condition = self.condition(factor=3)

        assert condition.due(self.heard(condition, 0, 1, 2)) is None

    def test_limit_is_a_multiple_of_the_usual_interval(self):
        condition = self.condition(factor=3, at_least="1m")

        assert condition.limit(self.heard(condition, *range(0, 100, 5))) == 15 * MINUTE

    def test_one_long_interval_in_many_does_not_change_the_rhythm(self):
        condition = self.condition(factor=3)

        assert condition.limit(self.heard(condition, *range(30), 90, *range(91, 95))) == 3 * MINUTE

    def test_limit_has_a_floor(self):
        condition = self.condition(factor=3, at_least="2m")

        assert condition.limit(self.heard(condition, *[place / 60 for place in range(20)])) == 2 * MINUTE


HOT = {"metric": "temperature", "type": "threshold", "operator": "gt", "threshold": 80, "clear_threshold": 75}
STILL = {"metric": "Fan_on", "type": "threshold", "operator": "eq", "threshold": False}


class TestSeveral:
    def all(self, *samples, **more):
        return verdicts({"type": "all", "conditions": [HOT, STILL]} | more, *samples)

    def any(self, *samples):
        return verdicts({"type": "any", "conditions": [HOT, STILL]}, *samples)

    def test_all_holds_when_each_does(self):
        assert self.all((0, {"temperature": 85.0}), (1, {"fan_on": False}), (2, {"fan_on": True})) == [
            BETWEEN,
            HOLDS,
            CLEAR,
        ]

    def test_any_holds_when_one_does(self):
        assert self.any((0, {"temperature": 85.0}), (1, {"temperature": 70.0}), (2, {"fan_on": False})) == [
            HOLDS,
            CLEAR,
            HOLDS,
        ]

    def test_values_of_one_time_are_judged_together(self):
        samples = (0, {"temperature": 70.0, "fan_on": False}), (1, {"temperature": 85.0, "fan_on": True})

        assert self.all(*samples) == [CLEAR, CLEAR]

    def test_value_that_is_too_old_opens_nothing(self):
        samples = (0, {"fan_on": False}), (20, {"temperature": 85.0})

        assert self.all(*samples) == [BETWEEN, BETWEEN]
        assert self.all(*samples, max_age="30m") == [BETWEEN, HOLDS]

    def test_hysteresis_of_one_counts_for_all(self):
        samples = (0, {"temperature": 85.0, "fan_on": False}), (1, {"temperature": 78.0})

        assert self.all(*samples) == [HOLDS, BETWEEN]

    def test_value_older_than_the_one_known_is_late(self):
        samples = (5, {"temperature": 70.0}), (4, {"temperature": 85.0}), (4, {"fan_on": False})

        assert self.all(*samples) == [CLEAR, None, CLEAR]

    def test_all_and_any_nest(self):
        vibrating = {"metric": "vibration", "type": "threshold", "operator": "gt", "threshold": 7}
        document = {"type": "all", "conditions": [HOT, {"type": "any", "conditions": [STILL, vibrating]}]}
        samples = (0, {"temperature": 85.0}), (1, {"vibration": 9.0}), (2, {"vibration": 1.0})

        assert verdicts(document, *samples) == [CLEAR, HOLDS, CLEAR]
        assert parse(document).describe("") == "temperature > 80 and (fan_on = false or vibration > 7)"
