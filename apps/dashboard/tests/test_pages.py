"""Pages for people, as a browser gets them."""

import html
import re
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.test import Client

from apps.devices.tests.factories import LocationFactory
from apps.events.models import Event, EventComment
from apps.events.tests.factories import EventFactory, RuleFactory
from apps.notifications import queries as notification_queries
from apps.notifications.tests.factories import DeliveryFactory

PASSWORD = "a-Long-passw0rd"


@pytest.fixture
def browser():
    def logged_in(user) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    return logged_in


@pytest.fixture
def event(device):
    device.location = LocationFactory(name="Hall 2")
    device.save()
    return EventFactory(
        device=device,
        rule=RuleFactory(device=device, name="Hot bearing"),
        metadata={"reading": {"metric": "temperature", "value": 85.5, "unit": "°C", "timestamp": "2026-11-20T10:00Z"}},
        execution_results=[
            {"type": "notification", "status": "completed", "sent_count": 2, "recipients": [{"secret": "whsec_abc"}]},
            {"type": "stop_machine", "machine_id": "M-123", "status": "failed", "error": "There is no such machine."},
        ],
    )


def text_of(answer, status=200) -> str:
    assert answer.status_code == status
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())).split())


def test_link_in_a_message_leads_to_the_page(browser, alex, event):
    url = notification_queries.context_of(event)["event"]["url"]

    assert url.startswith(settings.PUBLIC_URL)
    assert event.message in text_of(browser(alex).get(url.removeprefix(settings.PUBLIC_URL)))


def test_page_tells_what_happened_and_what_was_done(browser, alex, event):
    DeliveryFactory(
        event=event, status="sent", recipient_name="The crew", sent_at=datetime(2026, 11, 20, 11, tzinfo=UTC)
    )
    DeliveryFactory(
        event=event, status="suppressed", suppressed_by="Silence 3: repair", recipient_address="b@example.com"
    )
    EventComment.objects.create(event=event, author=alex, body="I go and look.")
    page = browser(alex).get(f"/events/{event.pk}/")

    for part in (
        "warning new",
        "Press 1 VIB-SN-001",
        "Hall 2",
        "Hot bearing",
        "temperature 85.5 °C",
        "notification 2 sent",
        "stop machine M-123 There is no such machine.",
        "The crew Email",
        "Silence 3: repair",
        "I go and look.",
    ):
        assert part in text_of(page), part
    assert "whsec_abc" not in page.content.decode()


def test_times_are_those_of_the_viewer(browser, alex, event):
    alex.timezone = "Asia/Tokyo"
    alex.save()
    text = text_of(browser(alex).get(f"/events/{event.pk}/"))

    assert "Began 2026-11-20 19:00:00" in text
    assert "temperature 85.5 °C 2026-11-20 19:00:00" in text
    assert "Times are in Asia/Tokyo" in text


def test_api_answers_in_utc_whoever_asks(browser, alex, event):
    alex.timezone = "Asia/Tokyo"
    alex.save()

    assert browser(alex).get(f"/api/v1/events/{event.pk}/").json()["timestamp"] == "2026-11-20T10:00:00Z"


def test_event_of_others_does_not_exist(browser, jordan, admin, event):
    foreign = text_of(browser(jordan).get(f"/events/{event.pk}/"), status=404)
    nowhere = text_of(browser(jordan).get("/events/999999/"), status=404)

    assert foreign == nowhere
    assert "There is no such page" in foreign
    assert browser(admin).get(f"/events/{event.pk}/").status_code == 200


def test_acknowledging_takes_the_form_of_the_page(browser, alex, event):
    client = browser(alex)
    page = client.get(f"/events/{event.pk}/").content.decode()
    token = re.search(r'acknowledge/">\s*<input type="hidden" name="csrfmiddlewaretoken" value="(\w+)"', page)[1]

    assert client.post(f"/events/{event.pk}/acknowledge/").status_code == 403
    answer = client.post(f"/events/{event.pk}/acknowledge/", {"csrfmiddlewaretoken": token}, follow=True)

    event.refresh_from_db()
    assert (event.status, event.acknowledged_by) == ("acknowledged", alex)
    assert "Acknowledge " not in text_of(answer)


def test_nobody_acknowledges_for_others(jordan, event):
    client = Client()
    client.force_login(jordan)

    assert client.post(f"/events/{event.pk}/acknowledge/").status_code == 404
    event.refresh_from_db()
    assert event.status == "new"


def test_acknowledging_what_is_over_says_so(alex, event):
    client = Client()
    client.force_login(alex)
    Event.objects.update(status="resolved")

    assert "It was over before" in text_of(client.post(f"/events/{event.pk}/acknowledge/", follow=True))


def test_stranger_logs_in_and_comes_back_to_the_event(client, alex, event):
    asked = client.get(f"/events/{event.pk}/", follow=True)
    assert asked.redirect_chain == [(f"/login/?next=/events/{event.pk}/", 302)]

    wrong = client.post("/login/", {"username": "alex", "password": "wrong", "next": f"/events/{event.pk}/"})
    assert "Please enter a correct username and password" in text_of(wrong)
    answer = client.post("/login/", {"username": "alex", "password": PASSWORD, "next": f"/events/{event.pk}/"})
    assert answer["Location"] == f"/events/{event.pk}/"

    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/events/").status_code == 302


def test_login_leads_to_no_other_site(client, alex):
    answer = client.post("/login/", {"username": "alex", "password": PASSWORD, "next": "https://evil.example.com/"})

    assert answer["Location"] == "/"


def test_first_page_is_the_fleet_for_admins_and_open_events_for_clients(browser, admin, alex, jordan, event):
    assert browser(admin).get("/")["Location"] == "/admin/"
    assert browser(alex).get("/")["Location"] == "/events/"

    over = EventFactory(device=event.device, status="resolved", message="Long over")
    text = text_of(browser(alex).get("/events/"))
    assert event.message in text
    assert over.message not in text
    assert "Nothing is open." in text_of(browser(jordan).get("/events/"))


def test_page_takes_a_fixed_number_of_queries(browser, alex, event, django_assert_max_num_queries):
    client = browser(alex)
    for number in range(20):
        DeliveryFactory(event=event, recipient_address=f"p{number}@example.com")
        EventComment.objects.create(event=event, author=alex, body="Still looking.")

    with django_assert_max_num_queries(8):
        client.get(f"/events/{event.pk}/")
