import copy
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.rules import schedule, states
from apps.rules.conditions import OPERATORS, parse
from apps.rules.machine import Change, Holdup, Stage, State, Terms, feed, hear, next_tick, tick

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOT = {"type": "threshold", "operator": "gt", "threshold": 80}


def run(condition: dict, samples: list[tuple[int, float]], cooldown: int = 0, state: State | None = None):
    """Feeds (second, value) samples; returns the last state and the transitions as (change, second)."""
    state = copy.deepcopy(state) or State()
    terms = Terms(parse(condition), cooldown)
    transitions, _ = feed(state, terms, [(second * SECOND, float(value)) for second, value in samples])
    return state, [(transition.change, transition.ts // SECOND) for transition in transitions]


def test_crossing_opens_once_and_coming_back_clears():
    _, transitions = run(HOT, [(0, 70), (10, 85), (20, 90), (30, 70), (40, 60)])

    assert transitions == [(Change.OPENED, 10), (Change.CLEARED, 30)]


def test_first_sample_over_the_threshold_opens():
    _, transitions = run(HOT, [(0, 85)])

    assert transitions == [(Change.OPENED, 0)]


def test_duration_has_to_pass_before_it_opens():
    state, transitions = run(HOT | {"for": "1m"}, [(0, 85), (30, 85), (59, 85)])

    assert transitions == []
    assert state.stage is Stage.PENDING
    assert run(HOT | {"for": "1m"}, [(60, 85)], state=state)[1] == [(Change.OPENED, 60)]


def test_dip_within_the_duration_starts_it_again():
    _, transitions = run(HOT | {"for": "1m"}, [(0, 85), (30, 70), (40, 85), (70, 85), (100, 85)])

    assert transitions == [(Change.OPENED, 100)]


def test_hysteresis_keeps_a_flapping_value_from_clearing():
    condition = HOT | {"clear_threshold": 75}
    _, transitions = run(condition, [(0, 85), (10, 79), (20, 81), (30, 79), (40, 74)])

    assert transitions == [(Change.OPENED, 0), (Change.CLEARED, 40)]


def test_cooldown_puts_off_the_next_opening():
    samples = [(0, 85), (10, 70), (20, 85), (59, 85), (61, 85)]
    _, transitions = run(HOT, samples, cooldown=MINUTE)

    assert transitions == [(Change.OPENED, 0), (Change.CLEARED, 10), (Change.OPENED, 61)]


def test_sample_that_is_late_changes_nothing():
    state, _ = run(HOT, [(100, 70)])
    after, transitions = run(HOT, [(50, 99)], state=state)

    assert transitions == []
    assert (after.stage, after.last_ts, after.late) == (state.stage, state.last_ts, 1)


def test_same_sample_twice_changes_nothing():
    state, _ = run(HOT, [(0, 85)])

    assert run(HOT, [(0, 85)], state=state)[1] == []


def terms(condition, cooldown=0, hours=None):
    document = {"timezone": "UTC", "hours": [hours]} if hours else None
    return Terms(parse(condition), cooldown, schedule.parse(document))


def test_window_that_opens_while_it_holds_opens_an_event_at_the_next_sample():
    state = State()
    samples = [(minute * MINUTE, 85.0) for minute in range(0, 120, 10)]
    transitions, _ = feed(state, terms(HOT | {"for": "5m"}, hours={"start": "01:05", "end": "02:00"}), samples)

    assert [transition.ts // MINUTE for transition in transitions] == [70]


def test_state_says_that_the_schedule_holds_it_up():
    state = State()
    feed(state, terms(HOT, hours={"start": "08:00", "end": "09:00"}), [(0, 85.0)])

    assert (state.stage, state.held_by) == (Stage.PENDING, Holdup.SCHEDULE)


def test_what_cooldown_and_hysteresis_kept_away_is_counted():
    samples = [(0, 85), (10, 79), (20, 81), (30, 70), (40, 85), (50, 70), (70, 85), (80, 70), (400, 85)]
    state, _ = run(HOT | {"clear_threshold": 75}, samples, cooldown=5 * MINUTE)

    assert (state.openings, state.cooled, state.absorbed) == (2, 2, 1)


class TestSilence:
    SILENT = {"type": "no_data", "after": "10m"}

    def heard(self, *minutes, cooldown=0):
        state, on = State(), terms(self.SILENT, cooldown)
        for minute in minutes:
            hear(state, on, [(minute * MINUTE, 1.0)], minute * MINUTE)
        return state, on

    def test_it_opens_once_when_it_was_silent_for_too_long(self):
        state, on = self.heard(0)

        assert tick(state, on, 9 * MINUTE) is None
        assert tick(state, on, 11 * MINUTE).ts == 10 * MINUTE
        assert tick(state, on, 12 * MINUTE) is None

    def test_it_clears_when_something_comes_in_even_if_old(self):
        state, on = self.heard(5)
        tick(state, on, 16 * MINUTE)
        (transition,) = hear(state, on, [(1 * MINUTE, 1.0)], 20 * MINUTE)

        assert (transition.change, transition.ts) == (Change.CLEARED, 20 * MINUTE)

    def test_cooldown_puts_it_off(self):
        state, on = self.heard(0, cooldown=60 * MINUTE)
        tick(state, on, 11 * MINUTE)
        hear(state, on, [(12 * MINUTE, 1.0)], 12 * MINUTE)

        assert tick(state, on, 30 * MINUTE) is None
        assert next_tick(state, on) == 70 * MINUTE
        assert tick(state, on, 71 * MINUTE).ts == 71 * MINUTE


CONDITIONS = [
    HOT | {"for": "30s", "clear_threshold": 75},
    {"type": "range", "low": 65, "high": 82, "clear_margin": 2},
    {"type": "rate_of_change", "operator": "gt", "threshold": 60, "per": "minute"},
    {"type": "aggregate", "function": "avg", "window": "2m", "operator": "gt", "threshold": 78},
    {"type": "aggregate", "function": "count", "window": "1m", "operator": "lt", "threshold": 4},
    {"type": "stuck", "count": 3},
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition["type"])
@pytest.mark.parametrize("seed", range(5))
def test_batches_split_anywhere_and_restarts_between_give_the_same(condition, seed):
    random = Random(seed)
    samples, ts = [], 0
    for _ in range(400):
        ts += random.choice((0, 5, 10, 10, 10, 30)) * SECOND
        samples.append(
            (ts - random.choice((0, 0, 0, 60)) * SECOND, float(random.choice((60, 70, 78, 78, 85, 85, 85, 85))))
        )
    on = terms(condition, cooldown=MINUTE, hours={"start": "00:10", "end": "23:00"})
    whole = State()
    expected = feed(whole, on, samples)

    parts, transitions, late, rest = State(), [], [], samples
    while rest:
        cut = random.randint(1, 40)
        opened, missed = feed(parts, on, rest[:cut])
        transitions += opened
        late += missed
        rest = rest[cut:]
        parts.memory = states.restore(json.dumps(parts.memory))

    assert (transitions, late) == expected
    assert parts == whole
    assert len(transitions) > 2


QUIET_OR_NOT = [
    *({"type": "threshold", "operator": operator, "threshold": 80.0} for operator in OPERATORS),
    {"type": "threshold", "operator": "lt", "threshold": 60.0, "clear_threshold": 62.0, "for": "2s"},
    {"type": "threshold", "operator": "eq", "threshold": True},
    {"type": "threshold", "operator": "neq", "threshold": "ok"},
    {"type": "range", "low": 60, "high": 80, "clear_margin": 1},
    {"type": "range", "mode": "inside", "low": 79, "high": 81},
]
# Mostly in order and quiet, so that there is something to pass over.
STEPS = st.sampled_from([SECOND] * 8 + [0, -SECOND])
VALUES = st.one_of(
    st.just(70.0),
    st.just(70.0),
    st.sampled_from([59.5, 60.0, 61.0, 80.0, 80.5, True, False, "ok", "70"]),
    st.floats(50, 90),
)


@given(
    condition=st.sampled_from(QUIET_OR_NOT),
    cooldown=st.sampled_from([0, 5 * SECOND]),
    runs=st.lists(st.tuples(STEPS, VALUES, st.integers(1, 80)), min_size=1, max_size=12),
)
def test_what_is_passed_over_at_a_glance_is_what_one_by_one_would_have_changed_nothing(condition, cooldown, runs):
    on, by_run, by_one, ts = terms(condition, cooldown), State(), State(), 0
    for step, value, length in runs:
        samples = [(ts + step * place, value) for place in range(1, length + 1)]
        ts = samples[-1][0]
        expected = [feed(by_one, on, [sample]) for sample in samples]

        transitions, late = feed(by_run, on, samples)

        assert transitions == [transition for found, _ in expected for transition in found]
        assert late == [sample for _, missed in expected for sample in missed]
        assert by_run == by_one


def test_batches_of_several_metrics_split_anywhere_give_the_same():
    random = Random(7)
    still = {"metric": "fan", "type": "threshold", "operator": "eq", "threshold": False}
    on = terms({"type": "all", "conditions": [HOT | {"metric": "t"}, still], "max_age": "1m", "for": "10s"})
    samples = []
    for place in range(400):
        said = {"t": float(random.choice((70, 85)))} if random.random() < 0.7 else {}
        said |= {"fan": random.random() < 0.3} if random.random() < 0.5 or not said else {}
        samples.append((place * 10 * SECOND - random.choice((0, 0, 20)) * SECOND, said))
    whole, parts, transitions = State(), State(), []
    expected, _ = feed(whole, on, samples)
    for place in range(0, 400, 7):
        transitions += feed(parts, on, samples[place : place + 7])[0]
        parts.memory = states.restore(json.dumps(parts.memory))

    assert transitions == expected
    assert parts == whole
    assert len(transitions) > 10
