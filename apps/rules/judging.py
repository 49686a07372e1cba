"""Samples to the rules that concern them, in the caller's transaction: states move on, events open and resolve."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from apps.rules import happenings, machine, retroactive, states
from apps.rules.book import Book, Entry
from apps.rules.conditions import NoData, Several
from apps.rules.happenings import Happening
from apps.rules.locks import share_rules
from apps.rules.machine import State, Terms
from apps.rules.states import Key
from apps.rules.terms import to_micros

Samples = dict[int, machine.Samples]


@dataclass(frozen=True, slots=True)
class Portion:
    """Samples by series, oldest first, that came in together at `arrived` (µs, the hub's time)."""

    samples: Samples
    arrived: int


class _Local(threading.local):
    """One book for each thread, as each has a connection and transactions of its own."""

    def __init__(self):
        self.book = Book()


_local = _Local()


def judge(*, samples: Samples, now: datetime) -> None:
    """Feed samples that came in together to every rule that concerns their series."""
    judge_portions(portions=[Portion(samples, to_micros(now))], now=now)


def judge_portions(*, portions: list[Portion], now: datetime) -> None:
    """Feed what came in, in this order, to every rule that concerns its series; open and resolve events."""
    share_rules()
    work = _Work(portions, book())
    found = states.load(list(work.terms))
    happened = []
    for key in states.in_order(work.terms):
        happened += _judge_one(key, work, found[key])
    happenings.record(happened, now=now)
    states.save(found, work.terms)


def book() -> Book:
    """The rules as they are at this moment."""
    _local.book.catch_up()
    return _local.book


class _Work:
    """What is to be judged, by (rule, series)."""

    def __init__(self, portions: list[Portion], book: Book):
        self.series = defaultdict(list)
        self.arrived: dict[int, int] = {}
        self._portions = portions
        self._places: dict[int, list[int]] = defaultdict(list)  # of the portions that a series is in
        for place, portion in enumerate(portions):
            for series_id, samples in portion.samples.items():
                self.series[series_id] += samples
                self.arrived[series_id] = portion.arrived
                self._places[series_id].append(place)
        self.terms: dict[Key, Terms] = {}
        self._parts: dict[Key, dict[int, str]] = defaultdict(dict)
        for series_id, entries in book.entries(list(self.series)).items():
            for entry in entries:
                self._add(series_id, entry)

    def _add(self, series_id: int, entry: Entry) -> None:
        key = (entry.rule_id, entry.anchor)
        self.terms[key] = entry.terms
        if isinstance(entry.terms.condition, Several):
            self._parts[key][series_id] = entry.called

    def samples(self, key: Key) -> machine.Samples:
        parts = self._parts.get(key)
        if parts is None:
            return self.series[key[1]]
        places = sorted({place for series_id in parts for place in self._places[series_id]})
        return [sample for place in places for sample in merge(self._portions[place].samples, parts)]


def merge(samples: Samples, parts: dict[int, str]) -> Iterator[tuple[int, dict]]:
    """One sample for each time, with what all the metrics said then: (ts, {metric: value})."""
    together = defaultdict(dict)
    for series_id, name in parts.items():
        for ts, value in samples.get(series_id, ()):
            together[ts][name] = value
    return iter(sorted(together.items()))


def _judge_one(key: Key, work: _Work, state: State) -> list[Happening]:
    terms = work.terms[key]
    if isinstance(terms.condition, NoData):
        transitions = machine.hear(state, terms, work.series[key[1]], work.arrived[key[1]])
        return [Happening(*key, transition, terms) for transition in transitions]
    transitions, late = machine.feed(state, terms, work.samples(key))
    happened = [Happening(*key, transition, terms) for transition in transitions]
    return happened + [Happening(*key, episode, terms) for episode in retroactive.episodes(terms, late)]
