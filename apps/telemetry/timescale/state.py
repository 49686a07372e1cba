"""What is there already, under the keys of the plan's steps."""

from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.timescale import plan
from apps.telemetry.timescale.lifecycle import FOREVER, SECONDS, Interval

type State = dict[str, Interval | str | None]


def observe(connection: BaseDatabaseWrapper) -> State:
    """Of a database that has the extension."""
    query = f"SELECT key, value, i::text, {SECONDS} FROM ({plan.sql('observe')}) AS observed"
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    return {plan.EXTENSION.key: plan.EXTENSION.wanted} | {key: _value(*rest) for key, *rest in rows}


def _value(value: str | None, interval: str | None, seconds: float | None) -> Interval | str | None:
    if interval is not None:
        return Interval(float(seconds), interval)
    return FOREVER if value == FOREVER.text else value
