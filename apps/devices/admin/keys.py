from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from apps.devices import services
from apps.devices.models import DeviceCommand, DeviceKey

KEY_LABELS = {"Active": "success", "Expired": "warning", "Revoked": "danger"}
COMMAND_LABELS = {"queued": "info", "delivered": "info", "completed": "success", "failed": "danger"}


def key_state(key: DeviceKey) -> str:
    if key.revoked_at is not None:
        return "Revoked"
    return "Expired" if key.expires_at is not None and key.expires_at <= timezone.now() else "Active"


def back_to(row: Model) -> HttpResponse:
    """The end of a dialog: its row's page, with the messages."""
    page = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return HttpResponse(headers={"HX-Redirect": reverse(page, args=[row.pk])})


class LimitsForm(BaseDialogForm):
    messages_per_minute = forms.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, widget=UnfoldAdminIntegerFieldWidget
    )
    readings_per_minute = forms.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, widget=UnfoldAdminIntegerFieldWidget
    )


class ReadOnlyAdmin(ModelAdmin):
    """Rows that tell what was; changing them would lie."""

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False


@admin.register(DeviceKey)
class DeviceKeyAdmin(ReadOnlyAdmin):
    list_display = ["begins_with", "name", "device", "owner", "good_for", "state", "expires_at", "last_used_at"]
    list_select_related = ["device", "owner"]
    list_filter = [
        "scope",
        ("device", AutocompleteSelectFilter),
        ("owner", AutocompleteSelectFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
    ]
    list_filter_submit = True
    search_fields = ["prefix", "name", "device__name", "device__serial_number", "owner__username"]
    ordering = ["-created_at"]
    fieldsets = [
        (None, {"fields": ["begins_with", "state", "name", "device", "owner", "scope"]}),
        ("Rate limits", {"fields": ["messages_per_minute", "readings_per_minute"]}),
        ("Times", {"fields": ["created_at", "last_used_at", "expires_at", "revoked_at"]}),
    ]
    actions = ["revoke_selected"]
    actions_detail = ["set_limits", "revoke"]

    @display(description="Key", ordering="prefix")
    def begins_with(self, key):
        return f"{key.prefix}…"

    @display(description="Good for", ordering="scope")
    def good_for(self, key):
        return "its device" if key.scope == DeviceKey.Scope.DEVICE else "all of the owner's"

    @display(description="State", label=KEY_LABELS)
    def state(self, key):
        return key_state(key)

    def has_revoke_permission(self, request, obj=None):
        return request.user.is_admin

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke_selected(self, request, keys):
        for key in keys:
            self._revoke(request, key)
        self.message_user(request, "Revoked. Devices that use these keys are refused within seconds.")

    @action(
        description="Revoke",
        url_path="revoke",
        icon="block",
        permissions=["revoke"],
        dialog={
            "title": "Revoke this key?",
            "description": "A device that uses it is refused within seconds. This can't be undone.",
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request, form, object_id):
        key = get_object_or_404(DeviceKey, pk=object_id)
        self._revoke(request, key)
        messages.success(request, f"The key {key.prefix}… is revoked.")
        return back_to(key)

    @action(
        description="Set limits",
        url_path="set-limits",
        icon="speed",
        permissions=["revoke"],
        dialog={
            "title": "What may this key send?",
            "description": "Per minute. Empty: as the hub is set up, 0: no limit. It holds within seconds.",
            "form_class": LimitsForm,
            "form_submit_text": "Set",
        },
    )
    def set_limits(self, request, form, object_id):
        key = get_object_or_404(DeviceKey, pk=object_id)
        limits = {name: form.cleaned_data[name] for name in ("messages_per_minute", "readings_per_minute")}
        services.update_key(key=key, **limits)
        self.log_change(request, key, f"Set the limits to {limits}.")
        messages.success(request, f"The limits of the key {key.prefix}… are set.")
        return back_to(key)

    def _revoke(self, request, key):
        services.revoke_key(key=key, now=timezone.now())
        self.log_change(request, key, "Revoked.")


@admin.register(DeviceCommand)
class DeviceCommandAdmin(ReadOnlyAdmin):
    list_display = ["name", "device", "status_label", "created_at", "delivered_at", "finished_at", "expires_at"]
    list_select_related = ["device"]
    list_filter = ["status", ("device", AutocompleteSelectFilter)]
    list_filter_submit = True
    search_fields = ["name", "device__name", "device__serial_number"]
    ordering = ["-created_at"]
    date_hierarchy = "created_at"
    fieldsets = [
        (None, {"fields": ["name", "device", "status", "params", "result"]}),
        ("Times", {"fields": ["created_at", "expires_at", "delivered_at", "finished_at"]}),
    ]

    @display(description="Status", ordering="status", label=COMMAND_LABELS)
    def status_label(self, command):
        return command.status, command.get_status_display()
