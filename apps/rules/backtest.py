"""What a rule would have done: the worker's own conditions and machine over stored readings, and nothing is written.

Readings count in the order in which they were taken, as if each had come in at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from apps.events.models import Event
from apps.rules import history, machine
from apps.rules.conditions import NoData
from apps.rules.machine import Change, Samples, State, Terms, Transition
from apps.rules.models import Rule
from apps.rules.queries import Subject, series_of_rule
from apps.rules.terms import other_metrics, own_name, terms_of, to_datetime, to_micros

MAX_READINGS = 1_000_000
MAX_RANGE = timedelta(days=400)
MAX_SERIES = 1000
MAX_WARM_UP = 7 * 86_400_000_000
MAX_LISTED = 1000


class TooMuch(Exception):
    """The range holds more than is judged in one request."""


@dataclass(slots=True)
class Interval:
    """A time during which the rule would have been firing; `end` is None if it still was at the end of the range."""

    device: UUID
    series_id: int
    start: datetime
    end: datetime | None
    measured: str


@dataclass(slots=True)
class Backtest:
    readings: int
    intervals: list[Interval]
    openings: int  # within the range; an interval may have begun before it
    suppressed_by_cooldown: int
    absorbed_by_hysteresis: int


def run(*, rule: Rule, start: datetime, end: datetime, now: datetime) -> Backtest:
    """Judge `start` ≤ t < `end`. The rule need not be saved. Raises TooMuch, ConditionError."""
    others, terms = other_metrics(rule), terms_of(rule)
    subjects = series_of_rule(rule=rule, others=others)
    name = own_name(rule, terms.condition, set(others.values()))
    warm_up = min(MAX_WARM_UP, terms.condition.span + terms.condition.hold_for + terms.cooldown)
    first, last = to_micros(start) - warm_up, to_micros(end)
    readings = _count(subjects, first, last)
    done = Backtest(readings, [], 0, 0, 0)
    for subject in subjects:
        parts = {series_id: called or name for series_id, called in subject.parts.items()}
        samples = history.stream(terms, parts, first, last, numeric=rule.metric.data_type == "numeric")
        state = State()
        _add(done, subject, state, _transitions(state, terms, samples, min(last, to_micros(now))), start)
    done.intervals.sort(key=lambda interval: interval.start)
    return done


def _count(subjects: list[Subject], first: int, last: int) -> int:
    if len(subjects) > MAX_SERIES:
        raise TooMuch(f"The rule judges {len(subjects)} devices; a backtest takes {MAX_SERIES} at most.")
    series = [series_id for subject in subjects for series_id in subject.parts]
    readings = history.count_readings(series, first, last, limit=MAX_READINGS + 1)
    if readings > MAX_READINGS:
        raise TooMuch(f"More than {MAX_READINGS:,} readings lie in this range; choose a shorter one.")
    return readings


def _transitions(state: State, terms: Terms, portions: Iterator[Samples], last: int) -> Iterator[Transition]:
    for samples in portions:
        if isinstance(terms.condition, NoData):
            yield from _silence(state, terms, samples)
        else:
            yield from machine.feed(state, terms, samples)[0]
    if isinstance(terms.condition, NoData) and (transition := machine.tick(state, terms, last)) is not None:
        yield transition


def _silence(state: State, terms: Terms, samples: Samples) -> Iterator[Transition]:
    """The clock is that of the readings: before each, the time since the one before it."""
    for sample in samples:
        if (transition := machine.tick(state, terms, sample[0])) is not None:
            yield transition
        yield from machine.hear(state, terms, [sample], sample[0])


def _add(done: Backtest, subject: Subject, state: State, transitions: Iterator[Transition], start: datetime) -> None:
    opened = None
    for transition in transitions:
        at = to_datetime(transition.ts)
        if transition.change is Change.OPENED:
            opened = Interval(subject.device_id, subject.anchor, at, None, transition.measured)
            done.intervals.append(opened)
            done.openings += at >= start
        elif opened is not None:
            opened.end = at
            if at < start:  # over before the range began
                done.intervals.remove(opened)
    done.suppressed_by_cooldown += state.cooled
    done.absorbed_by_hysteresis += state.absorbed


def would_send(rule: Rule, openings: int) -> list[dict]:
    """Per action, how often; and how many messages that is, where the action names its recipients."""
    actions = []
    for index, action in enumerate(rule.action_config):
        recipients = action.get("recipients")
        count = len(recipients) if isinstance(recipients, list) and recipients else None
        actions.append(
            {
                "action": index,
                "type": action.get("type"),
                "template_id": action.get("template_id"),
                "times": openings,
                "recipients": count,
                "messages": None if count is None else count * openings,
            }
        )
    return actions


def differences(rule: Rule, intervals: list[Interval], start: datetime, end: datetime) -> dict:
    """Intervals without an event that overlaps them, and the other way round."""
    events = list(Event.objects.filter(rule=rule.pk, timestamp__gte=start, timestamp__lt=end).order_by("timestamp"))
    spans = [(event, event.timestamp, _over(event)) for event in events]
    missing = [
        interval
        for interval in intervals
        if interval.start >= start
        and not any(
            event.device_metric_id == interval.series_id and _overlap(begin, over, interval.start, interval.end)
            for event, begin, over in spans
        )
    ]
    unexpected = [
        event
        for event, begin, over in spans
        if not any(
            interval.series_id == event.device_metric_id and _overlap(begin, over, interval.start, interval.end)
            for interval in intervals
        )
    ]
    return {"events": len(events), "missing": missing, "unexpected": unexpected}


def _over(event: Event) -> datetime | None:
    if event.status != Event.Status.RESOLVED:
        return None
    cleared = event.metadata.get("cleared")
    return datetime.fromisoformat(cleared) if cleared else event.resolved_at


def _overlap(start: datetime, end: datetime | None, other_start: datetime, other_end: datetime | None) -> bool:
    return (other_end is None or start <= other_end) and (end is None or other_start <= end)
