"""Many events at once, for people who clean up after a bad night.

Rules resolve events meanwhile, in an order of their own. So rows that somebody holds are left for last and then
taken one at a time: whoever holds one lock and waits for none can't be part of a deadlock.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import batched

from django.db import transaction
from django.db.models import QuerySet

from apps.events import services
from apps.events.models import Event
from apps.users.models import User

MAX_EVENTS = 10_000
AT_ONCE = 1000

Status = Event.Status


class TooManyEvents(Exception):
    """More than one call may change; nothing was changed."""


@dataclass(slots=True)
class Outcome:
    """`refused` says of each event that can't be changed why: `resolved` or `not_found`."""

    done: int = 0
    unchanged: int = 0
    refused: dict[int, str] = field(default_factory=dict)


def acknowledge(*, events: QuerySet[Event], asked: Iterable[int] = (), user: User, now: datetime) -> Outcome:
    """Acknowledge those of `events` that are new. Raises `TooManyEvents`.

    `asked` are ids that were named; those that are not among `events` are refused.
    """
    selected = _select(events)
    change = {"status": Status.ACKNOWLEDGED, "acknowledged_at": now, "acknowledged_by": user}
    new = [pk for pk, status in selected.items() if status == Status.NEW]
    one = partial(services.take_care, user=user, now=now)
    done = set(_change(new, {Status.NEW}, change, one))
    late = set(Event.objects.filter(pk__in=set(new) - done, status=Status.RESOLVED).values_list("pk", flat=True))
    over = {pk for pk, status in selected.items() if status == Status.RESOLVED} | late
    refused = _not_found(asked, selected) | dict.fromkeys(sorted(over), "resolved")
    return Outcome(len(done), len(selected) - len(done) - len(over), refused)


def resolve(*, events: QuerySet[Event], asked: Iterable[int] = (), user: User, now: datetime) -> Outcome:
    """Resolve those of `events` that are open; the others are unchanged. Raises `TooManyEvents`."""
    selected = _select(events)
    change = {"status": Status.RESOLVED, "resolved_at": now, "resolved_by": user}
    still_open = [pk for pk, status in selected.items() if status != Status.RESOLVED]
    states = {Status.NEW, Status.ACKNOWLEDGED}
    one = partial(services.declare_over, user=user, now=now)
    done = len(list(_change(still_open, states, change, one)))
    return Outcome(done, len(selected) - done, _not_found(asked, selected))


def _select(events: QuerySet[Event]) -> dict[int, str]:
    """Status by id."""
    selected = dict(events.order_by("pk").values_list("pk", "status")[: MAX_EVENTS + 1])
    if len(selected) > MAX_EVENTS:
        raise TooManyEvents(f"More than {MAX_EVENTS:,} events; narrow the filter.")
    return selected


def _change(ids: list[int], states: set[str], change: dict, one: Callable[..., bool]) -> Iterator[int]:
    """The ids of the events that this call has changed."""
    for some in batched(ids, AT_ONCE):
        free = set(_change_free(some, states, change))
        yield from free
        yield from (pk for pk in some if pk not in free and one(event_id=pk))


@transaction.atomic
def _change_free(ids: Iterable[int], states: set[str], change: dict) -> list[int]:
    rows = Event.objects.filter(pk__in=ids, status__in=states)
    free = list(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
    Event.objects.filter(pk__in=free).update(**change)
    return free


def _not_found(asked: Iterable[int], selected: dict[int, str]) -> dict[int, str]:
    return {pk: "not_found" for pk in asked if pk not in selected}
