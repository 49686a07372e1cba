"""The state machine of one rule on one series: normal → pending → firing → normal.

Pure and in event time: it knows samples, not clocks, so a restart or a replay gives the same result.
All times are µs since 1970.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from apps.rules.conditions import Threshold, Value


class Stage(StrEnum):
    NORMAL = "normal"
    PENDING = "pending"
    FIRING = "firing"


class Change(StrEnum):
    OPENED = "opened"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class State:
    stage: Stage = Stage.NORMAL
    since: int | None = None
    last_ts: int | None = None
    last_value: Value | None = None
    last_opened: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    change: Change
    ts: int
    value: Value


def step(state: State, condition: Threshold, cooldown: int, ts: int, value: Value) -> tuple[State, Transition | None]:
    """Feed one sample. A sample that is not newer than the last one judged changes nothing."""
    if state.last_ts is not None and ts <= state.last_ts:
        return state, None
    seen = replace(state, last_ts=ts, last_value=value)
    if state.stage is Stage.FIRING:
        if not condition.clears(value):
            return seen, None
        return replace(seen, stage=Stage.NORMAL, since=ts), Transition(Change.CLEARED, ts, value)
    if not condition.holds(value):
        return (seen if state.stage is Stage.NORMAL else replace(seen, stage=Stage.NORMAL, since=ts)), None
    return _holding(seen, condition, cooldown, ts, value)


def _holding(
    state: State, condition: Threshold, cooldown: int, ts: int, value: Value
) -> tuple[State, Transition | None]:
    """While it holds: wait for the duration and the cooldown to pass, then fire."""
    since = state.since if state.stage is Stage.PENDING else ts
    cooling = state.last_opened is not None and ts - state.last_opened < cooldown
    if ts - since < condition.hold_for or cooling:
        return replace(state, stage=Stage.PENDING, since=since), None
    return replace(state, stage=Stage.FIRING, since=ts, last_opened=ts), Transition(Change.OPENED, ts, value)
