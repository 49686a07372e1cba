from django_filters import rest_framework as filters

from apps.events.models import Event


class EventFilter(filters.FilterSet):
    """Times are event times, and the range is half-open: `start` ≤ t < `end`."""

    status = filters.MultipleChoiceFilter(choices=Event.Status)
    severity = filters.MultipleChoiceFilter(choices=Event.Severity)
    device = filters.UUIDFilter(field_name="device_id")
    rule = filters.UUIDFilter(field_name="rule_id")
    start = filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="gte")
    end = filters.IsoDateTimeFilter(field_name="timestamp", lookup_expr="lt")

    class Meta:
        model = Event
        fields = ["status", "severity", "device", "rule", "start", "end"]
