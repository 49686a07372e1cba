"""Reading a document of rules as code. Pure: what its names stand for is found out later.

owner: alex_client
rules:
  - key: hot-bearing
    name: Hot bearing
    device: VIB-SN-001
    metric: temperature
    condition: {type: threshold, operator: gt, threshold: 80, for: 5m}
"""

import re
from dataclasses import dataclass
from typing import Any

from apps.rules.code.yaml_lines import DocumentError, Lines, Path, Problem, load

# A rule as the API has it, with names in place of ids; `key` tells it from the others of its owner.
FIELDS = (
    "key",
    "owner",
    "name",
    "description",
    "device",
    "device_type",
    "metric",
    "severity",
    "severity_after",
    "condition",
    "operator",
    "threshold",
    "schedule",
    "action_config",
    "cooldown_minutes",
    "is_enabled",
)
KEY = re.compile(r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$")
MAX_KEY = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule as it is written; `path` is its place in the document."""

    key: str
    fields: dict[str, Any]
    path: Path


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    owner: str | None
    entries: list[Entry]
    tests: list[Any]
    lines: Lines

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(self.lines[path], message)


def parse(text: str) -> Document:
    """Raises DocumentError with all that is wrong with its outer form."""
    data, lines = load(text)
    if not isinstance(data, dict):
        raise DocumentError([Problem(0, "A document of rules is a mapping with a list of rules.")])
    problems = [
        Problem(lines[(key,)], f"Unknown field {key!r}; there are: owner, rules, tests.")
        for key in data
        if key not in {"owner", "rules", "tests"}
    ]
    owner = data.get("owner")
    if not isinstance(owner, str | None):
        problems.append(Problem(lines[("owner",)], "owner: A user name is needed here."))
    rules, tests = (_list(data, name, lines, problems) for name in ("rules", "tests"))
    entries = [_entry(rule, ("rules", place), lines, problems) for place, rule in enumerate(rules)]
    document = Document(text, owner, [entry for entry in entries if entry], tests, lines)
    problems += _repeated(document)
    if problems:
        raise DocumentError(problems)
    return document


def _list(data: dict, name: str, lines: Lines, problems: list[Problem]) -> list:
    found = data.get(name) if data.get(name) is not None else []
    if isinstance(found, list):
        return found
    problems.append(Problem(lines[(name,)], f"{name}: A list is needed here."))
    return []


def _entry(rule: Any, path: Path, lines: Lines, problems: list[Problem]) -> Entry | None:
    if not isinstance(rule, dict):
        problems.append(Problem(lines[path], "A rule is a mapping, with key, name and so on."))
        return None
    for field in rule:
        if field not in FIELDS:
            problems.append(Problem(lines[(*path, field)], f"{field}: Unknown field of a rule."))
    key = rule.get("key")
    if not isinstance(key, str) or not KEY.match(key) or len(key) > MAX_KEY:
        problems.append(Problem(lines[(*path, "key")], "key: Small letters and digits, such as hot-bearing."))
        return None
    return Entry(key, {field: value for field, value in rule.items() if field in FIELDS and field != "key"}, path)


def _repeated(document: Document) -> list[Problem]:
    """The same key may be there for different owners only."""
    problems, first = [], {}
    for entry in document.entries:
        known = (str(entry.fields.get("owner", document.owner)), entry.key)
        line = document.lines[entry.path]
        if known in first:
            problems.append(Problem(line, f"key: {entry.key} is there already, on line {first[known]}."))
        first.setdefault(known, line)
    return problems
