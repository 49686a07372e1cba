"""Silences, previews and attempts over HTTP."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.devices.tests.factories import DeviceFactory
from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationAttempt, Silence
from apps.notifications.tests.factories import DeliveryFactory, SilenceFactory, TemplateFactory

SILENCES = "/api/v1/silences/"
TEMPLATES = "/api/v1/notification-templates/"


@pytest.fixture
def window():
    now = timezone.now()
    return {"reason": "maintenance", "starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}


# ---- silences


def test_clients_silence_is_for_the_clients_own_devices(api, alex, device, window):
    answer = api(alex).post(SILENCES, window | {"device": str(device.pk)})

    assert answer.status_code == 201, answer.content
    silence = Silence.objects.get()
    assert (silence.owner, silence.created_by, silence.device) == (alex, alex, device)


def test_silence_begins_now_unless_it_says_otherwise(api, alex, window):
    del window["starts_at"]
    assert api(alex).post(SILENCES, window).status_code == 201
    assert Silence.objects.active(now=timezone.now()).exists()


def test_device_of_another_owner_does_not_exist(api, alex, window):
    answer = api(alex).post(SILENCES, window | {"device": str(DeviceFactory().pk)})
    assert answer.json()["errors"][0]["code"] == "does_not_exist"


def test_admins_silence_is_for_everybody(api, admin, alex, window):
    assert api(admin).post(SILENCES, window).json()["owner"] is None
    assert api(alex).get(SILENCES).json()["results"] == []


def test_only_admins_silence_for_others(api, alex, jordan, window):
    assert api(alex).post(SILENCES, window | {"owner": jordan.pk}).status_code == 400


def test_silence_ends_after_it_begins(api, alex, window):
    answer = api(alex).post(SILENCES, window | {"ends_at": window["starts_at"]})
    assert answer.status_code == 400


def test_silence_is_ended_early_by_deleting_it(api, alex):
    silence = SilenceFactory(owner=alex)
    assert api(alex).delete(f"{SILENCES}{silence.pk}/").status_code == 204


# ---- templates


def test_template_with_an_unknown_time_zone_or_hours_is_refused(api, alex):
    texts = {"name": "crew", "message_template": "x"}
    for wrong in ({"timezone": "Mars/Olympus"}, {"quiet_hours": "at night"}, {"escalation_recipients": ["nobody"]}):
        answer = api(alex).post(TEMPLATES, texts | wrong)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"].startswith(next(iter(wrong)))


def test_preview_of_a_saved_template_speaks_of_an_event(api, alex, device):
    template = TemplateFactory(owner=alex, message_template="{{ device.name }} at {{ event.timestamp|date:'H:i' }}")
    event = EventFactory(device=device)
    answer = api(alex).post(f"{TEMPLATES}{template.pk}/preview/", {"event": event.pk, "timezone": "Europe/Kyiv"})

    assert answer.status_code == 200, answer.content
    assert answer.json()["message"] == "Press 1 at 12:00"


def test_preview_of_texts_that_are_not_saved(api, alex):
    answer = api(alex).post(f"{TEMPLATES}preview/", {"message_template": "{{ device.name }}!"})
    assert answer.json() == {"subject": "[warning] Hot bearing: Press 1", "message": "Press 1!", "error": None}


def test_preview_says_why_the_plain_text_would_go_out(api, alex):
    answer = api(alex).post(f"{TEMPLATES}preview/", {"message_template": "{% nonsense %}"})
    assert "nonsense" in answer.json()["error"]
    assert "Hot bearing" in answer.json()["message"]


def test_preview_shows_no_event_of_another_owner(api, jordan, device):
    event = EventFactory(device=device)
    answer = api(jordan).post(f"{TEMPLATES}preview/", {"message_template": "x", "event": event.pk})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "event")


def test_shared_template_may_be_previewed_by_everybody(api, alex):
    assert api(alex).post(f"{TEMPLATES}{TemplateFactory().pk}/preview/", {}).status_code == 200


# ---- attempts


def test_attempts_of_a_delivery_are_listed_oldest_first(api, alex, device):
    delivery = DeliveryFactory(event=EventFactory(device=device))
    for outcome in ("failed", "sent"):
        NotificationAttempt.objects.create(delivery=delivery, started_at=timezone.now(), outcome=outcome)

    rows = api(alex).get(f"/api/v1/notification-deliveries/{delivery.pk}/attempts/").json()
    assert [row["outcome"] for row in rows] == ["failed", "sent"]
