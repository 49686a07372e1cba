"""The chain behind the readings: rules, events and webhooks, compared with a plain run of the state machine."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apps.notifications.tests.receivers import WebhookReceiver
from apps.rules import conditions, machine
from tests.faults.feeds import Feed
from tests.faults.hub import Chief, Hub
from tests.faults.proof import SERIES

CONDITIONS = {
    "plain": {"type": "threshold", "operator": "gt", "threshold": 40},
    "patient": {"type": "threshold", "operator": "gte", "threshold": 30, "for": "3s", "clear_threshold": 10},
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOLD = "plain"  # the events of this rule go out as webhooks

# In order of arrival: each watched series has one sender, who sends in order of time.
SAMPLES = """
    SELECT (extract(epoch FROM ts) * 1000000)::bigint, value_numeric
    FROM telemetry WHERE device_metric_id = %s ORDER BY ts
"""
EVENTS = "SELECT id, reading_ts, status, metadata->>'cleared' FROM events WHERE rule_id = %s AND device_metric_id = %s"


@dataclass(frozen=True)
class Watch:
    """A rule on the level of a feed's device."""

    rule: str
    condition: dict
    feed: Feed
    is_told: bool


def set_up(chief: Chief, feeds: list[Feed], hook: WebhookReceiver) -> list[Watch]:
    template = chief.post(
        "notification-templates/",
        {
            "name": "loopback",
            "message_template": "{{ device.name }}: {{ reading.value }}",
            "recipients": [{"type": "webhook", "url": hook.url}],
            "retry_count": 100,
            "retry_delay_minutes": 0,
        },
    )
    action = {"type": "notification", "template_id": template["id"]}
    watches = []
    for feed in feeds:
        chief.post(f"devices/{feed.device}/metrics/", {"metric": "level"})
        for name, condition in CONDITIONS.items():
            rule = {
                "name": f"{name} {feed.serial_number}",
                "device": feed.device,
                "metric": "level",
                "condition": condition,
                "cooldown_minutes": 0,
                "action_config": [action] if name == TOLD else [],
            }
            watches.append(Watch(chief.post("rules/", rule)["id"], condition, feed, is_told=name == TOLD))
    return watches


def differences(hub: Hub, watches: list[Watch], hook: WebhookReceiver) -> list[str]:
    found = []
    told = _webhook_ids(hook)
    for watch in watches:
        series = dict(hub.sql(SERIES, watch.feed.device))["level"]
        events = sorted(hub.sql(EVENTS, watch.rule, series), key=lambda event: event[1])
        found += _different_events(watch, expected_events(hub, watch, series), events)
        if watch.is_told:
            wrong = [event[0] for event in events if len(told[event[0]]) != 1]
            found += [f"event {event} was told with {len(told[event])} ids" for event in wrong]
    ids = [one for several in told.values() for one in several]
    if len(ids) != len(set(ids)):
        found.append("two events were told with one id")
    return found


def expected_events(hub: Hub, watch: Watch, series: int) -> list[tuple[datetime, datetime | None]]:
    """When each event opens and when it clears, in event time."""
    terms = machine.Terms(conditions.parse(watch.condition))
    transitions, late = machine.feed(machine.State(), terms, list(hub.stream(SAMPLES, series)))
    assert not late
    events = []
    for transition in transitions:
        at = EPOCH + timedelta(microseconds=transition.ts)
        if transition.change is machine.Change.OPENED:
            events.append((at, None))
        else:
            events[-1] = (events[-1][0], at)
    return events


def _different_events(watch: Watch, expected: list[tuple], events: list[tuple]) -> list[str]:
    there = [(opened, cleared and datetime.fromisoformat(cleared)) for _, opened, _, cleared in events]
    name = f"{watch.condition} on {watch.feed.serial_number}"
    found = []
    if there != expected:
        missing, extra = [one for one in expected if one not in there], [one for one in there if one not in expected]
        found.append(
            f"{name}: {len(missing)} events are missing, {len(extra)} too many, such as {missing[:2]} {extra[:2]}"
        )
    for event, _, status, cleared in events:
        if (status == "resolved") != (cleared is not None):
            found.append(f"{name}: event {event} is {status}, cleared {cleared}")
    return found


def _webhook_ids(hook: WebhookReceiver) -> dict[int, set[str]]:
    ids = defaultdict(set)
    for request in hook.requests:
        ids[request.json["event"]["id"]].add(request.headers["webhook-id"])
    return ids
