"""The rows of `rule_states`, read and written many at a time without an object of the ORM for each."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg2.extras import execute_values

from apps.rules.machine import Holdup, Stage, State, Terms, next_tick
from apps.rules.models import RuleState
from apps.rules.terms import to_datetime, to_micros

# (rule, series): what a state is of.
Key = tuple[UUID, int]

_LOAD = """
    SELECT rule_id, device_metric_id, state, since, last_ts, last_value::text, last_opened, held_by, memory::text,
           openings, suppressed_by_cooldown, absorbed_by_hysteresis, late_readings
    FROM unnest(%s::uuid[], %s::int[]) AS key (rule_id, device_metric_id)
    JOIN rule_states USING (rule_id, device_metric_id)
"""
_COLUMNS = [
    *("state", "since", "last_ts", "last_value", "last_opened", "held_by", "memory"),
    *("openings", "suppressed_by_cooldown", "absorbed_by_hysteresis", "late_readings", "due_at"),
]
_SAVE = f"""
    INSERT INTO rule_states (rule_id, device_metric_id, {", ".join(_COLUMNS)}) VALUES %s
    ON CONFLICT (rule_id, device_metric_id) DO UPDATE SET
        {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)}
"""
_ROW = (
    "(%s, %s, %s, %s::timestamptz, %s::timestamptz, %s::jsonb, %s::timestamptz, %s, %s::jsonb, "
    "%s, %s, %s, %s, %s::timestamptz)"
)
_EMPTY = "{}"


def in_order(keys: Iterable[Key]) -> list[Key]:
    """The one order in which states are judged and written, so that nobody waits crosswise."""
    return sorted(keys, key=lambda key: (key[1], key[0].int))


def load(keys: list[Key]) -> dict[Key, State]:
    """Those that there are, and new ones for the others."""
    rules, series = [str(rule_id) for rule_id, _ in keys], [series_id for _, series_id in keys]
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, [rules, series])
        found = {row[:2]: _state(*row[2:]) for row in cursor.fetchall()}
    return {key: found.get(key) or State() for key in keys}


def save(states: Mapping[Key, State], terms: Mapping[Key, Terms]) -> None:
    rows = [(str(key[0]), key[1], *_values(states[key], terms[key])) for key in in_order(states)]
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, _SAVE, rows, template=_ROW, page_size=1000)


def of_row(row: RuleState) -> State:
    return _state(
        row.state,
        row.since,
        row.last_ts,
        json.dumps(row.last_value),
        row.last_opened,
        row.held_by,
        json.dumps(row.memory),
        row.openings,
        row.suppressed_by_cooldown,
        row.absorbed_by_hysteresis,
        row.late_readings,
    )


def _state(stage, since, last_ts, last_value, last_opened, held_by, memory, *counts) -> State:
    return State(
        Stage(stage),
        to_micros(since),
        to_micros(last_ts),
        restore(last_value) if last_value is not None else None,
        to_micros(last_opened),
        Holdup(held_by),
        {} if memory == _EMPTY else restore(memory),
        *counts,
    )


def restore(text: str) -> Any:
    """JSON as it was before the database had it, which writes 1e22 as a whole number of 23 digits."""
    return json.loads(text, parse_int=_whole_or_large)


def _whole_or_large(digits: str) -> float:
    return int(digits) if len(digits) <= 16 else float(digits)


def _values(state: State, terms: Terms) -> tuple:
    return (
        state.stage.value,
        to_datetime(state.since),
        to_datetime(state.last_ts),
        None if state.last_value is None else json.dumps(state.last_value),
        to_datetime(state.last_opened),
        state.held_by.value,
        json.dumps(state.memory) if state.memory else _EMPTY,
        state.openings,
        state.cooled,
        state.absorbed,
        state.late,
        to_datetime(next_tick(state, terms)),
    )
