"""Compares the ledger with the table. Every function returns sentences about what is wrong."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from tests.faults.feeds import START_MS, STEP_MS, Value
from tests.faults.hub import Hub
from tests.faults.ledger import Account, Ledger

SERIES = """
    SELECT lower(m.name), dm.id FROM device_metrics dm JOIN metrics m ON m.id = dm.metric_id WHERE dm.device_id = %s
"""
READINGS = """
    SELECT (extract(epoch FROM ts) * 1000)::bigint, value_numeric, value_bool, value_str
    FROM telemetry WHERE device_metric_id = %s ORDER BY ts
"""
READINGS_BY_TIME = """
    SELECT (extract(epoch FROM ts) * 1000)::bigint, count(*)
    FROM telemetry WHERE device_metric_id = ANY(%s) GROUP BY ts
"""
# An index that a crash broke would hide what it does not find, so it is not asked.
ROWS_WITHOUT_INDEX = """
    SELECT count(*), coalesce(sum(readings), 0) FROM (
        SELECT count(*) AS readings FROM telemetry WHERE device_metric_id = ANY(%s) GROUP BY device_metric_id, ts
    ) AS keys
"""
EXAMPLES = 5


def differences(hub: Hub, ledger: Ledger) -> list[str]:
    found = []
    for account in ledger.accounts.values():
        account.feed.series = dict(hub.sql(SERIES, account.feed.device))
        places = _places(hub, account, found)
        for metric in account.feed.metrics:
            found += _different_values(hub, account, metric, places)
    return found + _wrong_totals(hub, ledger)


def _places(hub: Hub, account: Account, wrong: list[str]) -> Iterable[int]:
    """Of the messages that have to be there, each once. An abandoned body may be there, but not in part."""
    if not account.abandoned:
        return range(account.sent)
    stored = dict(hub.sql(READINGS_BY_TIME, list(account.feed.series.values())))
    absent: set[int] = set()
    for body in account.abandoned.values():
        readings = sum(stored.get(START_MS + place * STEP_MS, 0) for place in body.places)
        if not readings:
            absent.update(body.places)
        elif readings != body.count * body.per_message:
            wrong.append(f"{account.feed.serial_number} {body.first}+{body.count}: only {readings} readings are there")
    return [place for place in range(account.sent) if place not in absent]


def _different_values(hub: Hub, account: Account, metric: str, places: Iterable[int]) -> list[str]:
    feed = account.feed
    expected = ((place, feed.value(metric, place, account.versions.get(place, 0))) for place in places)
    found = []
    for wanted, there in zip_longest(expected, _readings(hub, feed.series.get(metric, -1))):
        if wanted != there or type(wanted[1]) is not type(there[1]):
            found.append(f"{feed.serial_number} {metric}: {wanted} was to be stored, there is {there}")
        if len(found) == EXAMPLES:
            break
    return found


def _readings(hub: Hub, series: int) -> Iterator[tuple[int, Value]]:
    for at, *values in hub.stream(READINGS, series):
        place, rest = divmod(at - START_MS, STEP_MS)
        (value,) = (value for value in values if value is not None)
        yield (place if not rest else place + rest / STEP_MS), value


def _wrong_totals(hub: Hub, ledger: Ledger) -> list[str]:
    """Rows = what receipts counted as accepted + what was acknowledged uncounted + what was abandoned and is there."""
    found = []
    for account in ledger.accounts.values():
        name, per_message = account.feed.serial_number, len(account.feed.metrics)
        keys, rows = _rows(hub, list(account.feed.series.values()))
        if keys != rows:
            found.append(f"{name}: {rows} rows with {keys} keys")
        uncounted = sum(body.fresh for body in account.uncounted.values()) * per_message
        abandoned = sum(body.count for body in account.abandoned.values()) * per_message
        if not account.accepted + uncounted <= rows <= account.accepted + uncounted + abandoned:
            found.append(f"{name}: {rows} rows, of which receipts counted {account.accepted} and missed {uncounted}")
    return found


def _rows(hub: Hub, series: list[int]) -> tuple[int, int]:
    settings = (
        "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;"
    )
    return hub.sql(settings + ROWS_WITHOUT_INDEX, series)[0]
