from django_filters import rest_framework as filters

from apps.devices.api.filters import SearchFilter
from apps.events.models import Event


class EventFilter(filters.FilterSet):
    """Times are event times, and the range is half-open: `start` ≤ t < `end`."""

    status = filters.MultipleChoiceFilter(choices=Event.Status)
    severity = filters.MultipleChoiceFilter(choices=Event.Severity)
    device = filters.UUIDFilter(field_name="device_id")
    rule = filters.UUIDFilter(field_name="rule_id")
    device_type = filters.UUIDFilter(field_name="device__device_type_id")
    location = filters.UUIDFilter(field_name="device__location_id")
    open = filters.BooleanFilter(method="_open", label="Not resolved (true), or resolved (false).")
    search = SearchFilter("message", "device__name", "device__serial_number", "rule__name")
    start = filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="gte")
    end = filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="lt")

    class Meta:
        model = Event
        fields = []

    def _open(self, events, name, value):
        return events.open() if value else events.filter(status=Event.Status.RESOLVED)
