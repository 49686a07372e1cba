"""Why a rule did, or did not, open an event at a time: worked out from the readings, by the code that judges."""

from datetime import datetime
from typing import Any

from apps.devices.models import Device
from apps.events.masking import masked
from apps.events.models import Event
from apps.rules import history, machine
from apps.rules.conditions import Condition, NoData, Several, Verdict
from apps.rules.history import Reading
from apps.rules.machine import Holdup, Stage, State, Terms
from apps.rules.models import Rule, RuleState
from apps.rules.queries import Subject, series_of_rule
from apps.rules.terms import other_metrics, own_name, terms_of, to_datetime, to_micros

LOOK_BACK = 86_400_000_000
MAX_READINGS = 50_000
SHOWN_BEFORE, SHOWN_AFTER = 20, 5

SENTENCES = {
    Holdup.DURATION: "It holds, but not yet for as long as the rule asks.",
    Holdup.COOLDOWN: "It holds, but the last event opened less than the cooldown ago.",
    Holdup.SCHEDULE: "It holds, but outside of the rule's active hours.",
    Holdup.HYSTERESIS: "An event is open and the value has come back, but not past the point where it clears.",
}


def explain(*, rule: Rule, device: Device, at: datetime) -> dict[str, Any]:
    """`at` included. Raises ConditionError."""
    others, terms = other_metrics(rule), terms_of(rule)
    found = series_of_rule(rule=rule, others=others, device_id=device.pk)
    answer = {
        "rule": rule.pk,
        "device": device.pk,
        "at": at,
        "condition": terms.condition.describe(rule.metric.name, rule.metric.unit),
    }
    if not found:
        reason = _reason("not_concerned", "The rule does not judge this device, or the device lacks its metric.")
        return answer | _nothing() | {"suppressed_by": [reason]}
    name = own_name(rule, terms.condition, set(others.values()))
    return answer | _explain(rule, device, terms, _named(found[0], name), to_micros(at))


def _named(subject: Subject, name: str) -> Subject:
    return Subject(subject.device_id, subject.anchor, {key: called or name for key, called in subject.parts.items()})


def _nothing() -> dict[str, Any]:
    return {"inputs": [], "window": None, "state": None, "stored_state": None, "event": None}


def _explain(rule: Rule, device: Device, terms: Terms, subject: Subject, at: int) -> dict[str, Any]:
    condition = terms.condition
    start = at - max(LOOK_BACK, 2 * (condition.span + condition.hold_for) + terms.cooldown)
    readings = history.latest(list(subject.parts), start, at + 1, limit=MAX_READINGS)
    if len(readings) == MAX_READINGS:
        start = readings[0].ts
    state = _state_before(rule, subject, start)
    shown = _replay(state, terms, subject, readings, at)
    after = history.following(list(subject.parts), at + 1, at + LOOK_BACK, limit=SHOWN_AFTER)
    return {
        "inputs": [*shown, *(_input(one, subject, None, None) for one in after)],
        "window": {
            "start": to_datetime(at - condition.span) if condition.span else None,
            "end": to_datetime(at),
            "readings": sum(one.ts > at - condition.span for one in readings),
            "memory": state.memory,
            "recomputed_from": to_datetime(start),
        },
        "state": _described(state, terms, at),
        "stored_state": _stored(rule, subject),
        "suppressed_by": _reasons(rule, device, terms, state, readings, at),
        "event": _event(rule, subject, at),
    }


def _state_before(rule: Rule, subject: Subject, start: int) -> State:
    """What events tell of the time before the readings that are looked at."""
    events = Event.objects.filter(rule=rule, device_metric=subject.anchor, timestamp__lt=to_datetime(start))
    last = events.exclude(metadata__has_key="retroactive").order_by("-timestamp").first()
    if last is None:
        return State()
    opened = to_micros(last.timestamp)
    if _is_open_at(last, to_datetime(start)):
        return State(stage=Stage.FIRING, since=opened, last_opened=opened)
    return State(last_opened=opened)


def _replay(state: State, terms: Terms, subject: Subject, readings: list[Reading], at: int) -> list[dict]:
    """Feeds all that came in time; the last ones one by one, to show what each did."""
    cut = max(0, len(readings) - SHOWN_BEFORE)
    while 0 < cut < len(readings) and readings[cut].ts == readings[cut - 1].ts:
        cut -= 1  # what was said at one time is judged together
    _feed(state, terms, subject, [one for one in readings[:cut] if not one.is_late])
    shown = []
    for place in range(cut, len(readings)):
        one = readings[place]
        together = [other for other in readings[cut:] if other.ts == one.ts and not other.is_late]
        if together and together[0] is one:
            _feed(state, terms, subject, together)
        shown.append(_input(one, subject, state.stage, state.held_by))
    if isinstance(terms.condition, NoData):
        machine.tick(state, terms, at)
    return shown


def _feed(state: State, terms: Terms, subject: Subject, readings: list[Reading]) -> None:
    if isinstance(terms.condition, Several):
        together: dict[int, dict] = {}
        for one in readings:
            together.setdefault(one.ts, {})[subject.parts[one.series_id]] = one.value
        machine.feed(state, terms, sorted(together.items()))
    elif isinstance(terms.condition, NoData):
        for one in readings:
            machine.tick(state, terms, one.received_at)
            machine.hear(state, terms, [(one.ts, one.value)], one.received_at)
    else:
        machine.feed(state, terms, [(one.ts, one.value) for one in readings])


def _input(one: Reading, subject: Subject, stage: Stage | None, held_by: Holdup | None) -> dict[str, Any]:
    return {
        "metric": subject.parts[one.series_id],
        "timestamp": to_datetime(one.ts),
        "value": one.value,
        "received_at": to_datetime(one.received_at),
        "is_late": one.is_late,
        "state": stage,
        "held_by": held_by,
    }


def _described(state: State, terms: Terms, at: int) -> dict[str, Any]:
    return {
        "state": state.stage,
        "since": to_datetime(state.since),
        "held_by": state.held_by,
        "last_value": state.last_value,
        "last_ts": to_datetime(state.last_ts),
        "last_opened": to_datetime(state.last_opened),
        "schedule_is_active": terms.schedule is None or terms.schedule.is_active(at),
    }


def _stored(rule: Rule, subject: Subject) -> RuleState | None:
    stored = RuleState.objects.filter(rule=rule, device_metric=subject.anchor)
    return stored.select_related("device_metric__metric").first()


def _reasons(rule: Rule, device: Device, terms: Terms, state: State, readings: list[Reading], at: int) -> list[dict]:
    reasons = []
    if not rule.is_enabled:
        reasons.append(_reason("disabled", "The rule is disabled; this is what it would have done."))
    if device.status != Device.Status.ACTIVE:
        reasons.append(_reason("inactive_device", "The device is not active: its readings are not taken."))
    if state.held_by:
        reasons.append(_reason(state.held_by, SENTENCES[state.held_by], _until(state, terms)))
    if late := [one for one in readings[-SHOWN_BEFORE:] if one.is_late and _holds(terms.condition, one)]:
        sentence = f"{len(late)} readings that hold came after newer ones had been judged."
        reasons.append(_reason("late", sentence))
    if not readings:
        reasons.append(_reason("no_readings", "There are no readings of that time."))
    return reasons


def _holds(condition: Condition, one: Reading) -> bool:
    return condition.is_memoryless and condition.observe({}, one.ts, one.value) is Verdict.HOLDS


def _until(state: State, terms: Terms) -> datetime | None:
    if state.held_by is Holdup.DURATION:
        return to_datetime(state.since + terms.condition.hold_for)
    if state.held_by is Holdup.COOLDOWN:
        return to_datetime(state.last_opened + terms.cooldown)
    return None


def _reason(code: str, message: str, until: datetime | None = None) -> dict[str, Any]:
    return {"reason": str(code), "message": message, "until": until}


def _event(rule: Rule, subject: Subject, at: int) -> dict[str, Any] | None:
    """The event that was open then, with what became of its actions."""
    moment = to_datetime(at)
    events = Event.objects.filter(rule=rule, device_metric=subject.anchor, timestamp__lte=moment)
    last = events.order_by("-timestamp").first()
    if last is None or not _is_open_at(last, moment):
        return None
    shown = ("id", "status", "severity", "message", "timestamp", "created_at", "resolved_at", "metadata")
    return {name: getattr(last, name) for name in shown} | {"execution_results": masked(last.execution_results)}


def _is_open_at(event: Event, moment: datetime) -> bool:
    if event.status != Event.Status.RESOLVED:
        return True
    cleared = event.metadata.get("cleared")
    over = datetime.fromisoformat(cleared) if cleared else event.resolved_at
    return over >= moment
