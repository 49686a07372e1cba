"""Tests of rules as documents write them. Pure: no database, so they run wherever the file is checked.

tests:
  - name: Opens after five minutes
    rule: hot-bearing
    start: 2026-11-20T10:00:00Z
    samples: [[0s, 85], [5m, 85], [6m, 70]]
    expect: [[5m, opened], [6m, cleared]]
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any

from apps.rules import conditions, escalation, schedule
from apps.rules.code import series
from apps.rules.code.documents import Document, Entry
from apps.rules.code.yaml_lines import DocumentError, Path, Problem
from apps.rules.conditions import ConditionError
from apps.rules.machine import Terms
from apps.rules.models import Rule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
MINUTE = 60_000_000
FIELDS = {"name", "rule", "start", "samples", "series", "csv", "until", "expect"}
CHANGES = ("opened", "cleared", "raised")

Moment = tuple[int, str]  # µs since the start, and what happens then


@dataclass(frozen=True, slots=True)
class Fixture:
    """`samples` in the order in which they come in, at µs since 1970, as the condition wants them."""

    name: str
    line: int
    terms: Terms
    steps: list[dict]
    start: int
    until: int | None
    samples: list[tuple[int, Any]]
    expected: list[Moment]


def read(document: Document, *, folder: FilePath) -> list[Fixture]:
    """The fixtures of a document; paths of CSV files are from `folder`. Raises DocumentError with all problems."""
    reader = _Reader(document, folder)
    found = [reader.fixture(test, ("tests", place)) for place, test in enumerate(document.tests)]
    if reader.problems:
        raise DocumentError(reader.problems)
    return found


class _Wrong(Exception):
    def __init__(self, path: Path, message: str):
        super().__init__(message)
        self.path = path


class _Reader:
    def __init__(self, document: Document, folder: FilePath):
        self.document = document
        self.folder = folder
        self.problems: list[Problem] = []
        self._terms: dict[int, tuple[Terms, list[dict]] | None] = {}
        for place, entry in enumerate(document.entries):
            self._terms[place] = self._terms_of(entry)

    def fixture(self, test: Any, path: Path) -> Fixture | None:
        try:
            return self._fixture(test, path)
        except _Wrong as error:
            self._complain(error.path, str(error), path)
        except series.SeriesError as error:
            self._complain((*path, *error.path), str(error), path)
        return None

    def _fixture(self, test: Any, path: Path) -> Fixture | None:
        if not isinstance(test, dict):
            raise _Wrong(path, "A test is a mapping with rule, samples and expect.")
        for field in test:
            if field not in FIELDS:
                raise _Wrong((*path, field), "Unknown field of a test.")
        place = self._rule(test.get("rule"), path)
        if self._terms[place] is None:
            return None  # what is wrong with the rule was told already
        terms, steps = self._terms[place]
        start = self._start(test.get("start"), path)
        metric = str(self.document.entries[place].fields.get("metric", "")).lower()
        return Fixture(
            name=str(test.get("name") or test["rule"]),
            line=self.document.lines[path],
            terms=terms,
            steps=steps,
            start=start,
            until=None if test.get("until") is None else start + self._offset(test["until"], (*path, "until")),
            samples=series.read(test, condition=terms.condition, metric=metric, start=start, folder=self.folder),
            expected=self._expected(test.get("expect"), path),
        )

    def _rule(self, key: Any, path: Path) -> int:
        for place, entry in enumerate(self.document.entries):
            if entry.key == key:
                return place
        raise _Wrong((*path, "rule"), f"The document has no rule with the key {key!r}.")

    def _terms_of(self, entry: Entry) -> tuple[Terms, list[dict]] | None:
        """As the API and the worker read them; only what needs the metric itself can't be asked here."""
        fields = entry.fields
        default = {name: Rule._meta.get_field(name).get_default() for name in ("cooldown_minutes", "severity")}
        said = default | {name: value for name, value in fields.items() if value is not None}
        try:
            where = "cooldown_minutes"
            if type(said[where]) is not int or said[where] < 0:
                raise ConditionError("", "A number of minutes is needed here.")
            cooldown, where = said[where] * MINUTE, "condition"
            condition, where = conditions.parse(_condition(fields)), "schedule"
            hours, where = schedule.parse(fields.get("schedule")), "severity_after"
            steps = escalation.parse(said.get("severity_after", []), severity=said["severity"])
        except (ConditionError, ValueError) as error:
            self._complain((*entry.path, where, *_parts(getattr(error, "field", ""))), str(error), entry.path)
            return None
        return Terms(condition=condition, cooldown=cooldown, schedule=hours), steps

    def _start(self, text: Any, path: Path) -> int:
        if text is None:
            at = DEFAULT_START
        else:
            try:
                at = datetime.fromisoformat(text)
            except (TypeError, ValueError):
                raise _Wrong((*path, "start"), "A time such as 2026-11-20T10:00:00Z.") from None
            if at.tzinfo is None:
                raise _Wrong((*path, "start"), "A time needs its offset, such as 2026-11-20T10:00:00Z.")
        return (at - EPOCH) // timedelta(microseconds=1)

    def _expected(self, listed: Any, path: Path) -> list[Moment]:
        path = (*path, "expect")
        if not isinstance(listed, list):
            raise _Wrong(path, "A list such as [[5m, opened], [9m, cleared]]; [] if nothing is to happen.")
        expected = []
        for place, pair in enumerate(listed):
            if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in CHANGES:
                raise _Wrong((*path, place), f"A pair of offset and one of {', '.join(CHANGES)}.")
            expected.append((self._offset(pair[0], (*path, place)), pair[1]))
        return expected

    def _offset(self, text: Any, path: Path) -> int:
        try:
            return conditions.parse_duration(text, "")
        except ConditionError as error:
            raise _Wrong(path, str(error)) from None

    def _complain(self, path: Path, message: str, within: Path) -> None:
        told = ".".join(str(part) for part in path[len(within) :])
        self.problems.append(self.document.problem(path, f"{told}: {message}" if told else message))


def _condition(fields: dict) -> Any:
    """The shorthand that the API takes, too."""
    if "condition" not in fields and "operator" in fields:
        return {"type": "threshold", "operator": fields["operator"], "threshold": fields.get("threshold")}
    return fields.get("condition")


def _parts(field: str) -> Path:
    """`conditions.1.metric` as a path in the document."""
    return tuple(int(part) if part.isdigit() else part for part in field.split(".") if part)
