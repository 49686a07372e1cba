"""The admin's first page: the fleet at a glance (`templates/admin/index.html`)."""

import json
from datetime import datetime
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

from apps.dashboard import fleet
from apps.events.models import Event

DELIVERIES = "notifications_notificationdelivery"


def first_page(request: HttpRequest, context: dict) -> dict:
    glance = fleet.at_a_glance(now=timezone.now())
    readings = glance["readings"]
    return context | {
        "title": "The fleet",
        "cards": _cards(glance),
        "readings_chart": _chart(readings) if readings else "",
        "readings_note": "The last 24 hours" if readings else "Too many to be counted within two seconds",
        "latest_events": {
            "headers": ["Severity", "Status", "Event", "Device", "Since"],
            "rows": [_row(event) for event in glance["latest"]],
        },
    }


def _cards(glance: dict) -> list[dict]:
    severities = glance["events"]["open_severity"]
    return [
        _card("Devices", "Heard of within 15 minutes, a day, or longer ago", glance["devices"], "devices_device", None),
        _card("Open events", "Not resolved, by severity", severities, "events_event", "severity__exact"),
        _card("Messages", "Of the last 24 hours", glance["deliveries"], DELIVERIES, "status__exact"),
    ]


def _card(title: str, note: str, numbers: dict[str, int], changelist: str, by: str | None) -> dict:
    """Each number leads to the rows that it counts, as far as their page has a filter for it."""
    page = reverse(f"admin:{changelist}_changelist")
    entries = [
        {"name": name, "number": number, "href": f"{page}?{urlencode({by: name})}" if by else page}
        for name, number in numbers.items()
    ]
    return {"title": title, "note": note, "entries": entries}


def _chart(readings: list[tuple[datetime, int]]) -> str:
    counts = [count for _, count in readings]
    bars = {"label": "Readings", "data": counts, "backgroundColor": "var(--color-primary-600)", "displayYAxis": True}
    return json.dumps({"labels": [f"{timezone.localtime(hour):%H:%M}" for hour, _ in readings], "datasets": [bars]})


def _row(event: Event) -> list:
    page = reverse("admin:events_event_change", args=[event.pk])
    link = format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', page, event.message)
    since = date_format(timezone.localtime(event.timestamp), "DATETIME_FORMAT")
    return [event.severity, event.status, link, event.device.name, since]
