"""Judging what is in the outbox `watched_batches`.

All series of a device lie in one shard. Whoever holds a shard's advisory lock judges its batches in the
order in which they were stored, and commits states, events and the emptied outbox together: a worker
may die anywhere, and two may run at once, without an event lost or doubled.
"""

import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import msgspec
from django.db import connection, transaction

from apps.devices.models import DeviceMetric
from apps.events import services as event_services
from apps.rules import conditions
from apps.rules.machine import Change, Stage, State, Transition, step
from apps.rules.models import Rule, RuleState
from apps.rules.queries import rules_of_series
from apps.telemetry.models import WatchedBatch

logger = logging.getLogger(__name__)

LOCK_SPACE = 0x10_7B  # first key of the advisory locks; the second is the shard
BATCHES_AT_ONCE = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Samples = dict[int, list[tuple[int, conditions.Value]]]


def evaluate_pending(*, now: datetime) -> int:
    """Judge everything that waits, shard by shard. Returns the number of batches judged."""
    judged = 0
    shards = WatchedBatch.objects.filter(error="").values_list("shard", flat=True).distinct().order_by("shard")
    for shard in list(shards):
        while count := _evaluate_shard(shard, BATCHES_AT_ONCE, now):
            judged += count
    return judged


def _evaluate_shard(shard: int, limit: int, now: datetime) -> int:
    try:
        return _judge_next(shard, limit, now)
    except Exception:
        if limit > 1:
            logger.exception("Shard %s failed; judging its batches one by one", shard)
            return _evaluate_shard(shard, 1, now)
        logger.exception("A batch of shard %s can't be judged; it is set aside", shard)
        return _set_aside(shard)


@transaction.atomic
def _judge_next(shard: int, limit: int, now: datetime) -> int:
    if not _lock(shard):
        return 0  # another worker is at it, and will take what has come in since
    batches = list(WatchedBatch.objects.filter(shard=shard, error="").order_by("id")[:limit])
    if batches:
        judge(samples=_unpack(batches), now=now)
        WatchedBatch.objects.filter(pk__in=[batch.pk for batch in batches]).delete()
    return len(batches)


@transaction.atomic
def _set_aside(shard: int) -> int:
    if not _lock(shard):
        return 0
    first = WatchedBatch.objects.filter(shard=shard, error="").order_by("id").first()
    if first is None:
        return 0
    first.error = "could not be judged; the worker's log has the reason"
    first.save(update_fields=["error"])
    return 1


def judge(*, samples: Samples, now: datetime) -> None:
    """Feed samples, oldest first, to every rule that concerns their series; open and resolve events."""
    rules = rules_of_series(device_metric_ids=list(samples))
    states = _load_states(rules)
    series = DeviceMetric.objects.select_related("device", "metric", "device__device_type").in_bulk(list(rules))
    for series_id, concerned in rules.items():
        for rule in concerned:
            stored = states.get((rule.pk, series_id)) or RuleState(rule=rule, device_metric_id=series_id)
            _judge_series(rule, series[series_id], stored, samples[series_id], now)
            states[rule.pk, series_id] = stored
    _save_states(list(states.values()))


def _judge_series(rule: Rule, series: DeviceMetric, stored: RuleState, samples: list, now: datetime) -> None:
    condition = conditions.parse(rule.condition)
    cooldown = rule.cooldown_minutes * 60_000_000
    state = _to_state(stored)
    for ts, value in samples:
        state, transition = step(state, condition, cooldown, ts, value)
        if transition is not None:
            _record(transition, rule, series, condition, now)
    _from_state(stored, state)


def _record(
    transition: Transition, rule: Rule, series: DeviceMetric, condition: conditions.Threshold, now: datetime
) -> None:
    at = _to_datetime(transition.ts)
    if transition.change is Change.CLEARED:
        event_services.resolve_cleared(rule_id=rule.pk, device_metric_id=series.pk, timestamp=at, now=now)
        return
    unit = series.unit or series.metric.unit
    event = event_services.open_event(
        rule_id=rule.pk,
        device_id=series.device_id,
        device_metric_id=series.pk,
        severity=rule.severity,
        message=f"{rule.name}: {condition.describe(series.metric.name, unit)}, "
        f"measured {conditions.show(transition.value)} on {series.device.name}",
        timestamp=at,
        reading_ts=at,
        actions=rule.action_config,
        metadata={
            "rule": {"name": rule.name, "condition": rule.condition},
            "reading": {
                "metric": series.metric.name,
                "unit": unit,
                "value": transition.value,
                "timestamp": at.isoformat(),
            },
        },
        now=now,
    )
    if event is not None:
        Rule.objects.filter(pk=rule.pk).update(last_triggered_at=at)


def _lock(shard: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_SPACE, shard])
        return cursor.fetchone()[0]


def _unpack(batches: list[WatchedBatch]) -> Samples:
    """Samples by series. Within a batch they lie sorted by time; batches follow each other as stored."""
    samples = defaultdict(list)
    for batch in batches:
        series_ids, timestamps, values = msgspec.msgpack.decode(batch.payload)
        for series_id, ts, value in zip(series_ids, timestamps, values, strict=True):
            samples[series_id].append((ts, value))
    return samples


def _load_states(rules: dict[int, list[Rule]]) -> dict[tuple, RuleState]:
    rows = RuleState.objects.filter(device_metric_id__in=list(rules))
    return {(row.rule_id, row.device_metric_id): row for row in rows}


def _save_states(states: list[RuleState]) -> None:
    fields = ["state", "since", "last_value", "last_ts", "last_opened"]
    RuleState.objects.bulk_create(
        states, update_conflicts=True, unique_fields=["rule", "device_metric"], update_fields=fields
    )


def _to_state(row: RuleState) -> State:
    return State(
        stage=Stage(row.state),
        since=_to_micros(row.since),
        last_ts=_to_micros(row.last_ts),
        last_value=row.last_value,
        last_opened=_to_micros(row.last_opened),
    )


def _from_state(row: RuleState, state: State) -> None:
    row.state = state.stage.value
    row.since = _to_datetime(state.since)
    row.last_ts = _to_datetime(state.last_ts)
    row.last_value = state.last_value
    row.last_opened = _to_datetime(state.last_opened)


def _to_micros(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // timedelta(microseconds=1)


def _to_datetime(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)
