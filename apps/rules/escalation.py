"""How the severity of an open event rises with its duration. Pure.

[{"after": "10m", "severity": "warning"}, {"after": "1h", "severity": "critical"}]
"""

from typing import Any

from apps.rules.conditions import ConditionError, parse_duration

SEVERITIES = ("info", "warning", "critical")
MAX_STEPS = len(SEVERITIES) - 1
SECOND = 1_000_000


def parse(document: Any, *, severity: str) -> list[dict]:
    """Steps with `after` in seconds, for a rule whose events open with `severity`. Raises ConditionError.

    Each step has to come later and be more severe than the one before: another would never count.
    """
    if not isinstance(document, list) or len(document) > MAX_STEPS:
        raise ConditionError("", f"A list of at most {MAX_STEPS} steps, such as [{{'after': '10m', 'severity': …}}].")
    steps, after = [], 0.0
    for place, entry in enumerate(document):
        try:
            step = _step(entry, after, severity)
        except ConditionError as error:
            raise ConditionError(f"{place}.{error.field}".rstrip("."), str(error), error.code) from None
        steps.append(step)
        after, severity = step["after"], step["severity"]
    return steps


def of_rule(document: Any, severity: str) -> list[dict]:
    """The same for a rule as it is stored: steps that no longer fit must not keep its event from opening."""
    try:
        return parse(document, severity=severity)
    except ConditionError:
        return []


def _step(entry: Any, before: float, severity: str) -> dict:
    if not isinstance(entry, dict):
        raise ConditionError("", "A step is an object with after and severity.")
    for key in entry:
        if key not in {"after", "severity"}:
            raise ConditionError(str(key), "Unknown field of a step.", "unknown_field")
    after = parse_duration(entry.get("after"), "after") / SECOND
    if after <= before:
        raise ConditionError("after", "Must be longer than that of the step before, and more than nothing.")
    chosen = entry.get("severity")
    if chosen not in SEVERITIES:
        raise ConditionError("severity", f"One of {', '.join(SEVERITIES)}.", "invalid_choice")
    if SEVERITIES.index(chosen) <= SEVERITIES.index(severity):
        raise ConditionError("severity", f"Must be more severe than {severity}: it only rises.", "not_rising")
    return {"after": after, "severity": chosen}
