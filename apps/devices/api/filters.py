from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from apps.devices.models import Device, DeviceType, Location, Metric


class SearchFilter(filters.CharFilter):
    """Rows where the term is part of one of the columns, whatever its case."""

    def __init__(self, *columns: str):
        super().__init__(label=f"Part of {', '.join(columns)}.")
        self.columns = columns

    def filter(self, rows: QuerySet, term: str) -> QuerySet:
        if not term:
            return rows
        return rows.filter(Q.create([(f"{column}__icontains", term) for column in self.columns], Q.OR))


class DeviceFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=Device.Status.choices)
    device_type = filters.UUIDFilter(field_name="device_type_id")
    location = filters.UUIDFilter(field_name="location_id")
    owner = filters.NumberFilter(field_name="owner_id")
    search = SearchFilter("serial_number", "name", "description")
    last_seen_before = filters.IsoDateTimeFilter(
        field_name="last_seen", lookup_expr="lt", label="Silent since; devices never heard of don't count."
    )

    class Meta:
        model = Device
        fields = []


class LocationFilter(filters.FilterSet):
    parent = filters.UUIDFilter(field_name="parent_id")
    search = SearchFilter("name", "description")

    class Meta:
        model = Location
        fields = []


class MetricFilter(filters.FilterSet):
    search = SearchFilter("name", "description")

    class Meta:
        model = Metric
        fields = ["data_type"]


class DeviceTypeFilter(filters.FilterSet):
    search = SearchFilter("name", "description")

    class Meta:
        model = DeviceType
        fields = ["metric_name"]
