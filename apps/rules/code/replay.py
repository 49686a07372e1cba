"""Running fixtures through the machine that judges live readings. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import ndiff

from apps.rules import machine
from apps.rules.code.fixtures import Fixture, Moment
from apps.rules.conditions import NoData
from apps.rules.conditions.document import show_duration
from apps.rules.machine import Change, State, Transition

SECOND = 1_000_000
MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Result:
    fixture: Fixture
    found: list[Moment]

    @property
    def passed(self) -> bool:
        return self.found == self.fixture.expected

    def diff(self) -> list[str]:
        """- is what was expected, + what happened instead."""
        if self.passed:
            return []
        expected, found = (
            [f"{_told(at)} {what}" for at, what in moments] for moments in (self.fixture.expected, self.found)
        )
        return [line for line in ndiff(expected, found) if line[0] != "?"]


def run(fixture: Fixture) -> Result:
    transitions = list(_transitions(fixture))
    moments = [(one.ts - fixture.start, one.change.value) for one in transitions] + list(_raised(fixture, transitions))
    return Result(fixture, sorted(moments, key=lambda moment: moment[0]))


def _transitions(fixture: Fixture) -> Iterator[Transition]:
    state, terms = State(), fixture.terms
    silent = isinstance(terms.condition, NoData)
    for sample in fixture.samples:
        if silent:
            yield from _ticks(state, fixture, sample[0])
            yield from machine.hear(state, terms, [sample], sample[0])
        else:
            yield from machine.feed(state, terms, [sample])[0]
    if silent:
        yield from _ticks(state, fixture, _end(fixture))


def _ticks(state: State, fixture: Fixture, until: int) -> Iterator[Transition]:
    """The clock runs on to `until`; where active hours hold the rule up, it looks every minute."""
    due = machine.next_tick(state, fixture.terms)
    while due is not None and due <= until:
        if (transition := machine.tick(state, fixture.terms, due)) is not None:
            yield transition
        again = machine.next_tick(state, fixture.terms)
        due = again if again is None or again > due else due + MINUTE


def _raised(fixture: Fixture, transitions: list[Transition]) -> Iterator[Moment]:
    """When severity rises: the event is open for so long, and the fixture goes on until then."""
    for place, opened in enumerate(transitions):
        if opened.change is not Change.OPENED:
            continue
        over = transitions[place + 1].ts if place + 1 < len(transitions) else None
        for step in fixture.steps:
            at = opened.ts + round(step["after"] * SECOND)
            if at < over if over is not None else at <= _end(fixture):
                yield at - fixture.start, "raised"


def _end(fixture: Fixture) -> int:
    last = max((ts for ts, _ in fixture.samples), default=fixture.start)
    return last if fixture.until is None else max(last, fixture.until)


def _told(offset: int) -> str:
    return show_duration(offset) if offset >= 0 else f"-{show_duration(-offset)}"
