"""The state machine of one rule on one series: normal → pending → firing → normal.

Pure and in event time: it knows samples, not clocks, so a restart, a replay or another division into batches gives
the same result. Silence alone has a clock, and is told the time by its caller. All times are µs since 1970.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import batched
from operator import lt
from typing import Any

from apps.rules.conditions import Condition, NoData, Several, Value, Verdict
from apps.rules.schedule import Schedule

# Samples that are looked at together where a condition can say at a glance that it holds for none of them.
AT_ONCE = 64
WORTH_A_GLANCE = 4


class Stage(StrEnum):
    NORMAL = "normal"
    PENDING = "pending"
    FIRING = "firing"


class Change(StrEnum):
    OPENED = "opened"
    CLEARED = "cleared"


class Holdup(StrEnum):
    """What keeps a rule in its stage: an opening is put off, or a clearing is absorbed."""

    NOTHING = ""
    DURATION = "duration"
    COOLDOWN = "cooldown"
    SCHEDULE = "schedule"
    HYSTERESIS = "hysteresis"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a rule judges; the part of it that the machine needs."""

    condition: Condition
    cooldown: int = 0
    schedule: Schedule | None = None


@dataclass(slots=True)
class State:
    """Where a rule stands with a series. `memory` is the condition's; the last four count since it began."""

    stage: Stage = Stage.NORMAL
    since: int | None = None
    last_ts: int | None = None
    last_value: Value | dict | None = None
    last_opened: int | None = None
    held_by: Holdup = Holdup.NOTHING
    memory: dict = field(default_factory=dict)
    openings: int = 0
    cooled: int = 0  # openings that the cooldown put off or prevented
    absorbed: int = 0  # crossings back that the hysteresis did not take for the end
    late: int = 0  # samples that came too late to be judged


@dataclass(frozen=True, slots=True)
class Transition:
    change: Change
    ts: int
    value: Value | dict | None
    measured: str = ""


Samples = list[tuple[int, Any]]


def feed(state: State, terms: Terms, samples: Samples) -> tuple[list[Transition], Samples]:
    """Judge samples, changing `state`. Returns the transitions, and the samples that came too late to be judged.

    A sample is late that is not newer than the last one judged.
    """
    if not terms.condition.is_memoryless:
        return _feed_each(state, terms, samples)
    transitions, late = [], []
    for some in batched(samples, AT_ONCE):
        if not _pass_over(state, terms.condition, some):
            found, missed = _feed_each(state, terms, some)
            transitions += found
            late += missed
    return transitions, late


def _pass_over(state: State, condition: Condition, samples: Sequence) -> bool:
    """Whether all of them came in time and change nothing, as most samples do most of the time.

    False where that can't be told at a glance; then nothing was done.
    """
    if state.stage is not Stage.NORMAL or len(samples) < WORTH_A_GLANCE:
        return False
    times, values = zip(*samples, strict=True)
    before = times[0] - 1 if state.last_ts is None else state.last_ts
    if not condition.holds_for_none(values) or not all(map(lt, (before, *times), times)):
        return False
    state.last_ts, state.last_value = samples[-1]
    return True


def _feed_each(state: State, terms: Terms, samples: Iterable) -> tuple[list[Transition], Samples]:
    transitions, late = [], []
    for sample in samples:
        ts, value = sample
        verdict = _observe(state, terms.condition, ts, value)
        if verdict is None:
            late.append(sample)
            continue
        if state.last_ts is None or ts > state.last_ts:
            state.last_ts = ts
        if type(terms.condition) is Several:
            value = dict(state.memory["values"])
        state.last_value = value
        if state.stage is Stage.NORMAL and verdict is not Verdict.HOLDS:
            continue
        transition = _advance(state, terms, verdict, state.last_ts, value)
        if transition is not None:
            transitions.append(transition)
    state.late += len(late)
    return transitions, late


def hear(state: State, terms: Terms, samples: Samples, arrived: int) -> list[Transition]:
    """Samples of a series whose silence is watched: whatever comes in ends it, also what is late."""
    condition = terms.condition
    for ts, value in samples:
        condition.hear(state.memory, state.last_ts, ts, arrived)
        if state.last_ts is None or ts > state.last_ts:
            state.last_ts, state.last_value = ts, value
    if not samples or state.stage is Stage.NORMAL:
        return []
    transition = _advance(state, terms, Verdict.CLEAR, arrived, state.last_value)
    return [] if transition is None else [transition]


def tick(state: State, terms: Terms, now: int) -> Transition | None:
    """It is `now`, and nothing came in since the last sample heard."""
    due = terms.condition.due(state.memory)
    if due is None or now < due or state.stage is Stage.FIRING:
        return None
    due = max(due, state.memory.get("from", due))  # not before the rule was there
    at = due if state.stage is Stage.NORMAL and not _obstacle(state, terms, due, due) else now
    return _advance(state, terms, Verdict.HOLDS, at, None)


def next_tick(state: State, terms: Terms) -> int | None:
    """When `tick` has something to do at the earliest; None if samples alone can change the state."""
    if not isinstance(terms.condition, NoData) or state.stage is Stage.FIRING:
        return None
    due = terms.condition.due(state.memory)
    if due is not None and state.held_by is Holdup.COOLDOWN:
        return max(due, state.last_opened + terms.cooldown)
    return due


def _observe(state: State, condition: Condition, ts: int, value: Any) -> Verdict | None:
    """None if the sample is late. What is late among several metrics is for the condition to say."""
    if state.last_ts is not None and ts <= state.last_ts and type(condition) is not Several:
        return None
    return condition.observe(state.memory, ts, value)


def _advance(state: State, terms: Terms, verdict: Verdict, ts: int, value: Any) -> Transition | None:
    if state.stage is Stage.FIRING:
        return _while_firing(state, terms, verdict, ts, value)
    if verdict is Verdict.HOLDS:
        return _while_holding(state, terms, ts, value)
    if state.stage is Stage.PENDING:
        state.stage, state.since, state.held_by = Stage.NORMAL, ts, Holdup.NOTHING
    return None


def _while_firing(state: State, terms: Terms, verdict: Verdict, ts: int, value: Any) -> Transition | None:
    if verdict is Verdict.CLEAR:
        state.stage, state.since, state.held_by = Stage.NORMAL, ts, Holdup.NOTHING
        return Transition(Change.CLEARED, ts, value)
    if verdict is Verdict.HOLDS:
        state.held_by = Holdup.NOTHING
    elif state.held_by is Holdup.NOTHING:
        state.held_by = Holdup.HYSTERESIS
        state.absorbed += 1
    return None


def _while_holding(state: State, terms: Terms, ts: int, value: Any) -> Transition | None:
    """Wait for duration, cooldown and schedule, then fire."""
    if state.stage is Stage.NORMAL:
        state.stage, state.since = Stage.PENDING, ts
    holdup = _obstacle(state, terms, state.since, ts)
    if holdup:
        state.cooled += holdup is Holdup.COOLDOWN and state.held_by is not Holdup.COOLDOWN
        state.held_by = holdup
        return None
    state.stage, state.since, state.held_by = Stage.FIRING, ts, Holdup.NOTHING
    state.last_opened = ts
    state.openings += 1
    return Transition(Change.OPENED, ts, value, terms.condition.measured(state.memory, value))


def _obstacle(state: State, terms: Terms, since: int, ts: int) -> Holdup:
    if ts - since < terms.condition.hold_for:
        return Holdup.DURATION
    if state.last_opened is not None and ts - state.last_opened < terms.cooldown:
        return Holdup.COOLDOWN
    if terms.schedule is not None and not terms.schedule.is_active(ts):
        return Holdup.SCHEDULE
    return Holdup.NOTHING
