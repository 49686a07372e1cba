from django.contrib import admin
from django.db.models import Count
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from apps.devices import services
from apps.devices.models import DeviceMetric, DeviceType, Location, Metric


class CountingAdmin(ModelAdmin):
    """Shows how many rows use each one; `counted` names the relation."""

    counted: str

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(uses=Count(self.counted))

    @display(description="Devices", ordering="uses")
    def uses(self, row):
        return row.uses


@admin.register(Location)
class LocationAdmin(CountingAdmin):
    counted = "devices"
    list_display = ["name", "parent", "latitude", "longitude", "uses"]
    list_select_related = ["parent"]
    list_filter = [("parent", AutocompleteSelectFilter)]
    list_filter_submit = True
    search_fields = ["name", "description"]
    autocomplete_fields = ["parent"]
    ordering = ["name"]
    fieldsets = [(None, {"fields": ["name", "parent", "description", "latitude", "longitude"]})]

    def save_model(self, request, location, form, change):
        services.update_location(location=location, **form.cleaned_data)


@admin.register(DeviceType)
class DeviceTypeAdmin(CountingAdmin):
    counted = "devices"
    list_display = ["name", "metric_name", "metric_unit", "metric_min", "metric_max", "uses"]
    list_filter = ["metric_name"]
    search_fields = ["name", "description", "metric_name"]
    ordering = ["name"]
    fieldsets = [
        (None, {"fields": ["name", "description"]}),
        (
            "Primary metric",
            {"fields": ["metric_name", "metric_unit", "metric_min", "metric_max"]},
        ),
        ("Lifecycle", {"fields": ["raw_retention"]}),
    ]


@admin.register(Metric)
class MetricAdmin(CountingAdmin):
    counted = "bindings"
    list_display = ["name", "type_label", "unit", "uses", "description"]
    list_filter = ["data_type"]
    search_fields = ["name", "description"]
    ordering = ["name"]
    fieldsets = [(None, {"fields": ["name", "data_type", "unit", "description"]})]

    @display(description="Type", ordering="data_type", label=True)
    def type_label(self, metric):
        return metric.get_data_type_display()

    def get_readonly_fields(self, request, metric=None):
        """What devices already send under this name has its type."""
        return ["data_type"] if metric is not None and metric.uses else []


@admin.register(DeviceMetric)
class SeriesAdmin(ModelAdmin):
    """All series; a new one is bound on the page of its device."""

    list_display = ["device", "metric", "unit", "min_value", "max_value", "is_watched", "created_at"]
    list_select_related = ["device", "metric"]
    list_filter = [("metric", AutocompleteSelectFilter), ("device", AutocompleteSelectFilter), "is_watched"]
    list_filter_submit = True
    search_fields = ["device__name", "device__serial_number", "metric__name"]
    ordering = ["device__name", "metric__name"]
    readonly_fields = ["device", "metric", "is_watched", "created_at"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "device",
                    "metric",
                    "unit",
                    "min_value",
                    "max_value",
                    "is_watched",
                    "created_at",
                ]
            },
        )
    ]

    def has_add_permission(self, request):
        return False

    def save_model(self, request, binding, form, change):
        services.update_binding(binding=binding, **form.cleaned_data)

    def delete_model(self, request, binding):
        services.unbind_metrics(bindings=[binding])

    def delete_queryset(self, request, bindings):
        services.unbind_metrics(bindings=bindings)
