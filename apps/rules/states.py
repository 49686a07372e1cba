"""The rows of `rule_states`, read and written many at a time without an object of the ORM for each.

Every reading that is judged moves a row on, so what a row costs decides how many readings a worker can judge. Columns
travel as arrays, times as µs since 1970.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import batched
from typing import Any
from uuid import UUID

from django.db import connection

from apps.rules.machine import Holdup, Stage, State, Terms, next_tick
from apps.rules.models import RuleState
from apps.rules.terms import to_micros

# (rule, series): what a state is of.
Key = tuple[UUID, int]

AT_ONCE = 5000

_LOAD = """
    SELECT place, state, (extract(epoch FROM since) * 1000000)::bigint, (extract(epoch FROM last_ts) * 1000000)::bigint,
           last_value::text, (extract(epoch FROM last_opened) * 1000000)::bigint, held_by, memory::text,
           openings, suppressed_by_cooldown, absorbed_by_hysteresis, late_readings
    FROM unnest(%s::uuid[], %s::int[]) WITH ORDINALITY AS key (rule_id, device_metric_id, place)
    JOIN rule_states USING (rule_id, device_metric_id)
"""
_COLUMNS = [
    *("state", "since", "last_ts", "last_value", "last_opened", "held_by", "memory"),
    *("openings", "suppressed_by_cooldown", "absorbed_by_hysteresis", "late_readings", "due_at"),
]
_NAMES = ["rule_id", "device_metric_id", *_COLUMNS]
_IN_JSON = {"last_value", "memory"}
_EPOCH, _MICRO = "'1970-01-01Z'::timestamptz", "interval '1 microsecond'"
_SAVE = f"""
    INSERT INTO rule_states ({", ".join(_NAMES)})
    SELECT rule_id, device_metric_id, state, {_EPOCH} + since * {_MICRO}, {_EPOCH} + last_ts * {_MICRO},
           nullif(last_value, 'null'), {_EPOCH} + last_opened * {_MICRO}, held_by, memory,
           openings, suppressed_by_cooldown, absorbed_by_hysteresis, late_readings, {_EPOCH} + due_at * {_MICRO}
    FROM ROWS FROM (
        unnest(%s::uuid[]), unnest(%s::int[]),
        unnest(%s::text[]), unnest(%s::bigint[]), unnest(%s::bigint[]), jsonb_array_elements(%s::jsonb),
        unnest(%s::bigint[]), unnest(%s::text[]), jsonb_array_elements(%s::jsonb),
        unnest(%s::int[]), unnest(%s::int[]), unnest(%s::int[]), unnest(%s::int[]), unnest(%s::bigint[])
    ) AS new ({", ".join(_NAMES)})
    ON CONFLICT (rule_id, device_metric_id) DO UPDATE SET
        {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)}
"""
_EMPTY = "{}"


def in_order(keys: Iterable[Key]) -> list[Key]:
    """The one order in which states are judged and written, so that nobody waits crosswise."""
    return sorted(keys, key=lambda key: (key[1], key[0].int))


def load(keys: list[Key]) -> dict[Key, State]:
    """Those that there are, and new ones for the others."""
    found = dict.fromkeys(keys)
    with connection.cursor() as cursor:
        for some in batched(keys, AT_ONCE):
            cursor.execute(_LOAD, [_array(rule_id for rule_id, _ in some), _array(series_id for _, series_id in some)])
            for place, *row in cursor.fetchall():
                found[some[place - 1]] = _state(*row)
    return {key: state or State() for key, state in found.items()}


def save(states: Mapping[Key, State], terms: Mapping[Key, Terms]) -> None:
    with connection.cursor() as cursor:
        for some in batched(in_order(states), AT_ONCE):
            columns = zip(*(_row(key, states[key], terms[key]) for key in some), strict=True)
            cursor.execute(_SAVE, [_json_or_array(*one) for one in zip(_NAMES, columns, strict=True)])


def _json_or_array(name: str, values: Iterable) -> str:
    return json.dumps(values) if name in _IN_JSON else _array(values)


def _array(values: Iterable) -> str:
    """As PostgreSQL writes arrays. Values are numbers, ids and words of our own: none holds what needs quotes."""
    return "{" + ",".join("NULL" if value is None else str(value) or '""' for value in values) + "}"


def of_row(row: RuleState) -> State:
    return _state(
        row.state,
        to_micros(row.since),
        to_micros(row.last_ts),
        json.dumps(row.last_value),
        to_micros(row.last_opened),
        row.held_by,
        json.dumps(row.memory),
        row.openings,
        row.suppressed_by_cooldown,
        row.absorbed_by_hysteresis,
        row.late_readings,
    )


def _state(stage, since, last_ts, last_value, last_opened, held_by, memory, *counts) -> State:
    value = None if last_value is None else restore(last_value)
    remembered = {} if memory == _EMPTY else restore(memory)
    return State(Stage(stage), since, last_ts, value, last_opened, Holdup(held_by), remembered, *counts)


def _row(key: Key, state: State, terms: Terms) -> tuple:
    """In the order of `_NAMES`."""
    return (
        *key,
        state.stage,
        state.since,
        state.last_ts,
        state.last_value,
        state.last_opened,
        state.held_by,
        state.memory,
        state.openings,
        state.cooled,
        state.absorbed,
        state.late,
        next_tick(state, terms),
    )


def _whole_or_large(digits: str) -> float:
    return int(digits) if len(digits) <= 16 else float(digits)


_decoder = json.JSONDecoder(parse_int=_whole_or_large)


def restore(text: str) -> Any:
    """JSON as it was before the database had it, which writes 1e22 as a whole number of 23 digits."""
    return _decoder.decode(text)
