"""Conditions over several metrics of one device.

{"type": "all", "max_age": "15m", "conditions": [
    {"metric": "temperature", "type": "threshold", "operator": "gt", "threshold": 80},
    {"metric": "fan_on", "type": "threshold", "operator": "eq", "threshold": false}]}
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from apps.rules.conditions import document as read
from apps.rules.conditions.document import ConditionError, Value, Verdict, show

MAX_AGE = "15m"
MAX_CONDITIONS = 10
MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Several:
    """`all` or `any` of other conditions, each over a metric or again several.

    `conditions` are (metric as the document calls it, in lower case, or "" for several; condition).
    A sample is `{metric: value}`, with all that the device said at that time. What a metric said last counts until
    it says something else, with one limit: a value older than `max_age` can't open an event. It does not resolve
    one either, unless it was quiet. A metric never seen is unknown to `all` and quiet to `any`.
    """

    kind: str
    conditions: tuple[tuple[str, "Several | object"], ...]
    max_age: int
    hold_for: int = 0

    is_memoryless: ClassVar[bool] = False

    @property
    def span(self) -> int:
        return max(self.max_age, *(condition.span for _, condition in self.conditions))

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that it asks for, in order, each once."""
        names = []
        for name, condition in self.conditions:
            names += [name] if name else condition.metrics
        return list(dict.fromkeys(names))

    def observe(self, memory: dict, ts: int, values: dict[str, Value]) -> Verdict | None:
        """None if every value is older than what was judged of its metric."""
        news = {name: value for name, value in values.items() if ts > memory.get("last", {}).get(name, ts - 1)}
        if not news:
            return None
        memory.setdefault("last", {}).update(dict.fromkeys(news, ts))
        memory.setdefault("values", {}).update(news)
        memory["clock"] = max(ts, memory.get("clock", ts))
        return self._judge(memory, ts, memory["clock"], news)

    def _judge(self, memory: dict, ts: int, clock: int, news: dict[str, Value]) -> Verdict:
        parts = memory.setdefault("parts", [{} for _ in self.conditions])
        verdicts = []
        for (name, condition), part in zip(self.conditions, parts, strict=True):
            if not name:
                verdicts.append(condition._judge(part, ts, clock, news))
                continue
            if name in news:
                said = condition.observe(part.setdefault("memory", {}), ts, news[name])
                part["said"], part["ts"] = int(said), ts
            verdicts.append(self._aged(part, clock))
        return min(verdicts) if self.kind == "all" else max(verdicts)

    def _aged(self, part: dict, clock: int) -> Verdict:
        if "said" not in part:
            return Verdict.BETWEEN if self.kind == "all" else Verdict.CLEAR
        if part["said"] == Verdict.HOLDS and clock - part["ts"] > self.max_age:
            return Verdict.BETWEEN
        return Verdict(part["said"])

    def describe(self, metric: str, unit: str = "") -> str:
        parts = []
        for name, condition in self.conditions:
            text = condition.describe(name)
            parts.append(text if name else f"({text})")
        return (" and " if self.kind == "all" else " or ").join(parts)

    def measured(self, memory: dict, value: Value | dict) -> str:
        return ", ".join(f"{name} {show(one)}" for name, one in memory.get("values", {}).items())


def parse(document: dict, parse_one: Callable, depth: int = 1) -> Several:
    """`parse_one(document, depth)` reads a condition that is one of several."""
    read.refuse_unknown(document, {"conditions", "max_age", "for"})
    listed = document.get("conditions")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_CONDITIONS:
        code = "required" if listed is None else "invalid"
        raise ConditionError("conditions", f"A list of 1 to {MAX_CONDITIONS} conditions is needed here.", code)
    if depth > MAX_DEPTH:
        raise ConditionError("conditions", f"At most {MAX_DEPTH} levels of all and any.", "too_deep")
    parts = tuple(_part(one, place, parse_one, depth) for place, one in enumerate(listed))
    max_age = read.positive_duration({"max_age": MAX_AGE} | document, "max_age")
    return Several(document["type"], parts, max_age, read.hold_for(document))


def _part(document: object, place: int, parse_one: Callable, depth: int) -> tuple[str, object]:
    path = f"conditions.{place}"
    if not isinstance(document, dict):
        raise ConditionError(path, "A condition is an object, with a metric and a type.")
    try:
        return _named(document, parse_one, depth)
    except ConditionError as error:
        raise error.within(path) from None


def _named(document: dict, parse_one: Callable, depth: int) -> tuple[str, object]:
    rest = {key: value for key, value in document.items() if key != "metric"}
    if rest.get("type") == "no_data":
        raise ConditionError("type", "Silence is a rule of its own: no_data can't be one of several.", "not_here")
    if rest.get("for") is not None:
        raise ConditionError("for", "The duration belongs to the whole, beside its type.", "not_here")
    condition = parse_one(rest, depth + 1)
    if isinstance(condition, Several):
        if "metric" in document:
            raise ConditionError("metric", "Each of its conditions names its own metric.", "not_here")
        return "", condition
    name = document.get("metric")
    if not isinstance(name, str) or not name.strip():
        raise ConditionError(
            "metric", "The name of a metric is needed here.", "required" if name is None else "invalid"
        )
    return name.strip().lower(), condition
