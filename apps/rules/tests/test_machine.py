import copy

from apps.rules.conditions import parse
from apps.rules.machine import Change, Stage, State, Terms, feed

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
