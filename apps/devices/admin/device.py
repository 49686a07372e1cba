from datetime import timedelta

from django import forms
from django.contrib import admin, messages
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm, PaginationInlineFormSet
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.devices import services
from apps.devices.admin.keys import KEY_LABELS, back_to, key_state
from apps.devices.models import Device, DeviceKey, DeviceMetric

LIFETIMES = [("", "No end"), ("30", "30 days"), ("90", "90 days"), ("365", "1 year")]

# From how many ms on, told in which unit of how many ms: "90 s" says more than "1 min".
CLOCK_UNITS = [
    (2 * 86_400_000, "d", 86_400_000),
    (2 * 3_600_000, "h", 3_600_000),
    (2 * 60_000, "min", 60_000),
    (1000, "s", 1000),
]


def clock_label(skew_ms: int | None) -> str:
    """Such as "12 s ahead"; the way to us alone makes a fraction of a second."""
    if skew_ms is None:
        return "-"
    for least, unit, length in CLOCK_UNITS:
        if abs(skew_ms) >= least:
            return f"{abs(skew_ms) // length} {unit} {'ahead' if skew_ms > 0 else 'behind'}"
    return "in step"


class DeviceForm(forms.ModelForm):
    class Meta:
        widgets = {
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "metadata": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }


class BindingForm(forms.ModelForm):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Another metric would relabel what was measured.
        self.fields["metric"].disabled = self.instance.pk is not None


class BindingFormSet(PaginationInlineFormSet):
    def save_new(self, form, commit=True):
        fields = {name: form.cleaned_data[name] for name in ("unit", "min_value", "max_value")}
        return services.bind_metric(
            device=self.instance, name=form.cleaned_data["metric"].name, may_create=False, **fields
        )

    def save_existing(self, form, binding, commit=True):
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        return services.update_binding(binding=binding, **changes)

    def delete_existing(self, binding, commit=True):
        services.unbind_metrics(bindings=[binding])


class BindingInline(TabularInline):
    model = DeviceMetric
    verbose_name = "metric"
    verbose_name_plural = "metrics"
    form = BindingForm
    formset = BindingFormSet
    fields = ["metric", "unit", "min_value", "max_value", "is_watched"]
    readonly_fields = ["is_watched"]
    autocomplete_fields = ["metric"]
    extra = 0
    tab = True
    show_title = False

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("metric", "device")


class KeyInline(TabularInline):
    model = DeviceKey
    verbose_name_plural = "keys"
    fields = ["begins_with", "name", "scope", "state", "expires_at", "last_used_at", "created_at"]
    readonly_fields = fields
    ordering = ["-created_at"]
    max_num = 0
    can_delete = False
    tab = True
    show_title = False

    @display(description="Key")
    def begins_with(self, key):
        """Leads to the page where the key can be revoked."""
        path = reverse("admin:devices_devicekey_change", args=[key.pk])
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}…</a>', path, key.prefix)

    @display(description="State", label=KEY_LABELS)
    def state(self, key):
        return key_state(key)

    def has_change_permission(self, request, obj=None):
        return False


class IssueKeyForm(BaseDialogForm):
    name = forms.CharField(max_length=100, required=False, widget=UnfoldAdminTextInputWidget)
    scope = forms.ChoiceField(choices=DeviceKey.Scope.choices, widget=UnfoldAdminSelectWidget)
    days = forms.ChoiceField(label="Valid for", choices=LIFETIMES, required=False, widget=UnfoldAdminSelectWidget)


@admin.register(Device)
class DeviceAdmin(ModelAdmin):
    form = DeviceForm
    list_display = ["heading", "device_type", "owner", "location", "status_label", "last_seen"]
    list_select_related = ["device_type", "owner", "location"]
    list_filter = [
        "status",
        ("device_type", AutocompleteSelectFilter),
        ("owner", AutocompleteSelectFilter),
        ("location", AutocompleteSelectFilter),
    ]
    list_filter_submit = True
    search_fields = ["serial_number", "name", "description", "owner__username"]
    autocomplete_fields = ["device_type", "owner", "location", "parent"]
    readonly_fields = ["id", "last_seen", "clock", "created_at", "updated_at"]
    ordering = ["name", "pk"]
    inlines = [BindingInline, KeyInline]
    actions = ["activate", "deactivate"]
    actions_detail = ["issue_key"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "name",
                    "serial_number",
                    "device_type",
                    "status",
                    "owner",
                    "location",
                    "parent",
                    "description",
                    "metadata",
                ]
            },
        ),
        ("Times", {"fields": ["last_seen", "clock", "created_at", "updated_at", "id"]}),
    ]

    @display(description="Device", ordering="name", header=True)
    def heading(self, device):
        return device.name, device.serial_number

    @display(
        description="Status",
        ordering="status",
        label={"active": "success", "error": "danger"},
    )
    def status_label(self, device):
        return device.status, device.get_status_display()

    @display(description="Clock")
    def clock(self, device):
        return clock_label(device.clock_skew_ms)

    def save_model(self, request, device, form, change):
        if not change:
            return super().save_model(request, device, form, change)
        # The form has already put its values into `device`; the service compares them with the row.
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        services.update_device(device=Device.objects.get(pk=device.pk), **changes)

    def delete_model(self, request, device):
        services.delete_device(device=device)

    def delete_queryset(self, request, devices):
        services.delete_devices(devices=devices)

    def get_deleted_objects(self, devices, request):
        """Counts, not a list: a device may have years of events."""
        series = DeviceMetric.objects.filter(device__in=devices).count()
        keys = DeviceKey.objects.filter(device__in=devices).count()
        counts = {"devices": len(devices), "series with all their readings and events": series, "keys": keys}
        return [str(device) for device in devices], counts, set(), []

    @admin.action(description="Mark as active", permissions=["change"])
    def activate(self, request, devices):
        self._set_status(request, devices, Device.Status.ACTIVE)

    @admin.action(description="Mark as inactive", permissions=["change"])
    def deactivate(self, request, devices):
        self._set_status(request, devices, Device.Status.INACTIVE)

    def _set_status(self, request, devices, status):
        for device in devices:
            services.update_device(device=device, status=status)
            self.log_change(request, device, f"Marked as {status}.")
        self.message_user(request, f"{len(devices)} marked as {status}.")

    @action(
        description="Issue key",
        url_path="issue-key",
        icon="key",
        permissions=["change"],
        dialog={
            "title": "Issue a key",
            "description": "The device sends it with its readings. It is shown once, on the next page.",
            "form_class": IssueKeyForm,
            "form_submit_text": "Issue",
        },
    )
    def issue_key(self, request, form, object_id):
        device = get_object_or_404(Device, pk=object_id)
        now, days = timezone.now(), form.cleaned_data["days"]
        key, secret = services.issue_key(
            device=device,
            name=form.cleaned_data["name"],
            scope=form.cleaned_data["scope"],
            expires_at=now + timedelta(days=int(days)) if days else None,
            now=now,
        )
        self.log_change(request, device, f"Issued the key {key.prefix}….")
        note = "Copy the key now, it is not shown again: <code>{}</code>"
        messages.success(request, format_html(note, secret))
        return back_to(device)
