"""Silences that are in force, matched against events."""

from datetime import datetime
from functools import cached_property

from apps.devices.models import Location
from apps.events.models import Event
from apps.notifications.models import Silence


class Silences:
    """Read once for a batch of deliveries."""

    def __init__(self, *, now: datetime):
        self._now = now

    def reason_for(self, event: Event) -> str:
        matching = next((silence for silence in self._active if self._matches(silence, event)), None)
        return f"Silence {matching.pk}: {matching.reason}" if matching else ""

    @cached_property
    def _active(self) -> list[Silence]:
        return list(Silence.objects.active(now=self._now).order_by("pk"))

    @cached_property
    def _parents(self) -> dict:
        return dict(Location.objects.values_list("pk", "parent_id"))

    def _matches(self, silence: Silence, event: Event) -> bool:
        """A device stands for what reports through it, a location for what lies within it."""
        device = event.device
        return (
            silence.owner_id in (None, device.owner_id)
            and silence.device_id in (None, device.pk, device.parent_id)
            and (silence.rule_id is None or silence.rule_id == event.rule_id)
            and silence.severity in ("", event.severity)
            and (silence.location_id is None or self._lies_within(device.location_id, silence.location_id))
        )

    def _lies_within(self, place, whole) -> bool:
        while place is not None and place != whole:
            place = self._parents.get(place)
        return place is not None
