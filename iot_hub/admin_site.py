"""The admin's sidebar, in the order of the hub's story."""

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse_lazy

# Group → (title, model, Material symbol). Models that have no admin are left out.
STORY = {
    "Devices": [
        ("Devices", "devices.Device", "sensors"),
        ("Device types", "devices.DeviceType", "category"),
        ("Locations", "devices.Location", "location_on"),
        ("Keys", "devices.DeviceKey", "key"),
        ("Commands", "devices.DeviceCommand", "send"),
    ],
    "Telemetry": [
        ("Readings", "telemetry.Reading", "show_chart"),
        ("Series", "devices.DeviceMetric", "timeline"),
        ("Metrics", "devices.Metric", "speed"),
        ("Watched batches", "telemetry.WatchedBatch", "inbox"),
    ],
    "Rules & events": [
        ("Events", "events.Event", "notifications_active"),
        ("Rules", "rules.Rule", "rule"),
        ("Rule states", "rules.RuleState", "toggle_on"),
    ],
    "Notifications": [
        ("Deliveries", "notifications.NotificationDelivery", "outgoing_mail"),
        ("Templates", "notifications.NotificationTemplate", "draft"),
        ("Silences", "notifications.Silence", "notifications_off"),
    ],
    "People": [("Users", "users.User", "group")],
}


def navigation(request: HttpRequest) -> list[dict]:
    registered = {model._meta.label for model in apps.get_models() if admin.site.is_registered(model)}
    groups = []
    for title, entries in STORY.items():
        items = [_item(*entry) for entry in entries if entry[1] in registered]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def _item(title: str, label: str, icon: str) -> dict:
    changelist = f"admin:{label.lower().replace('.', '_')}_changelist"
    return {"title": title, "icon": icon, "link": reverse_lazy(changelist)}
