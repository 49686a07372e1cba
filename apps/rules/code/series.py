"""The samples of a fixture: written into the document, or in a CSV file beside it. Pure."""

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

from apps.rules import conditions
from apps.rules.conditions import Condition, ConditionError, Several

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Sample = tuple[int, str, Any]  # µs since 1970, metric, value


class SeriesError(Exception):
    """What is wrong with samples; `path` is within the test."""

    def __init__(self, path: tuple, message: str):
        super().__init__(message)
        self.path = path


def read(test: dict, *, condition: Condition, metric: str, start: int, folder: FilePath) -> list[tuple[int, Any]]:
    """In the order in which they come in. With several metrics, what they say at one time is one sample."""
    given = [field for field in ("samples", "series", "csv") if test.get(field) is not None]
    if len(given) != 1:
        raise SeriesError((), "A test has either samples, series (of several metrics) or csv.")
    if not isinstance(condition, Several):
        samples = _READERS[given[0]](test[given[0]], metric, start, folder)
        own = [(ts, value) for ts, of, value in samples if of == metric]
        if samples and not own:
            raise SeriesError((given[0],), f"There is nothing of the rule's metric {metric!r}.")
        return own
    samples = _READERS[given[0]](test[given[0]], metric or condition.metrics[0], start, folder)
    together: dict[int, dict] = defaultdict(dict)
    for ts, of, value in samples:
        together[ts][of] = value
    return sorted(together.items())


def _inline(listed: Any, metric: str, start: int, folder: FilePath, path: tuple = ("samples",)) -> list[Sample]:
    if not isinstance(listed, list):
        raise SeriesError(path, "A list of [offset, value].")
    found = []
    for place, pair in enumerate(listed):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], (bool, int, float, str)):
            raise SeriesError((*path, place), "A pair of offset and value, such as [5m, 81.5].")
        found.append((start + _offset(pair[0], (*path, place)), metric, _value(pair[1])))
    return found


def _several(series: Any, metric: str, start: int, folder: FilePath) -> list[Sample]:
    if not isinstance(series, dict):
        raise SeriesError(("series",), "A mapping of metrics to lists of [offset, value].")
    return [
        sample
        for name, listed in series.items()
        for sample in _inline(listed, str(name).lower(), start, folder, ("series", name))
    ]


def _file(name: Any, metric: str, start: int, folder: FilePath) -> list[Sample]:
    """Columns `offset` or `timestamp`, `value`, and `metric` if there are several; others don't matter."""
    try:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return [_row(row, metric, start, f"{name}, line {rows.line_num}") for row in rows]
    except (OSError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise SeriesError(("csv",), f"Can't be read: {error}.") from error


def _row(row: dict, metric: str, start: int, where: str) -> Sample:
    try:
        if row.get("offset") is not None:
            ts = start + conditions.parse_duration(row["offset"], "")
        else:
            ts = (datetime.fromisoformat(row["timestamp"]) - EPOCH) // timedelta(microseconds=1)
        return ts, (row.get("metric") or metric).lower(), _text(row["value"])
    except (ConditionError, KeyError, TypeError, ValueError, AttributeError):
        message = f"{where}: An offset (5m) or a timestamp (2026-11-20T10:00:00Z), and a value, are needed here."
        raise SeriesError(("csv",), message) from None


def _text(text: str) -> Any:
    """A value as a CSV file has it: what looks like a number is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _value(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _offset(text: Any, path: tuple) -> int:
    try:
        return conditions.parse_duration(text, "")
    except ConditionError as error:
        raise SeriesError(path, str(error)) from None


_READERS = {"samples": _inline, "series": _several, "csv": _file}
