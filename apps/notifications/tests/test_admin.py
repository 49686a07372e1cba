import json

import pytest

from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationDelivery, NotificationTemplate, Silence
from apps.notifications.tests.factories import DeliveryFactory, TemplateFactory

TEMPLATES = "/admin/notifications/notificationtemplate/"
DELIVERIES = "/admin/notifications/notificationdelivery/"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = {"type": "webhook", "url": "https://example.com/hook", "secret": SECRET}

# unfold 0.110 overrides an admin method whose signature Django 6.1 extended
pytestmark = pytest.mark.filterwarnings("ignore:Overriding get_action_choices")


@pytest.fixture
def page(client, admin):
    client.force_login(admin)
    return client


def form(**changes):
    fields = {"name": "T", "message_template": "x", "recipients": "[]", "priority": 1, "is_active": "on"}
    numbers = {"retry_count": 3, "retry_delay_minutes": 5, "repeat_minutes": 0, "escalate_after_minutes": 0}
    return fields | numbers | {"escalation_recipients": "[]"} | changes


def test_recipients_are_stored_in_their_full_form(page):
    page.post(f"{TEMPLATES}add/", form(recipients='["a@example.com"]'))

    assert NotificationTemplate.objects.get().recipients == [{"type": "email", "address": "a@example.com"}]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [({"recipients": '["nonsense"]'}, "not an email address"), ({"message_template": "{% if %}"}, "Unexpected end")],
)
def test_wrong_template_is_refused(page, wrong, complaint):
    response = page.post(f"{TEMPLATES}add/", form(**wrong))

    assert complaint in response.content.decode()
    assert not NotificationTemplate.objects.exists()


def test_secret_is_kept_and_not_shown(page):
    template = TemplateFactory(recipients=[HOOK])
    url = f"{TEMPLATES}{template.pk}/change/"
    response = page.get(url)
    assert SECRET not in response.content.decode()

    shown = response.context["adminform"].form.initial["recipients"]
    page.post(url, form(name="Renamed", recipients=json.dumps(shown)))

    template.refresh_from_db()
    assert (template.name, template.recipients) == ("Renamed", [HOOK])


def test_test_is_sent_to_the_recipients(page, mail):
    template = TemplateFactory()
    page.post(TEMPLATES, {"action": "send_test", "_selected_action": [template.pk]})

    assert mail.messages[0]["to"] == "ann@example.com"


def test_failed_deliveries_are_tried_again(page, device):
    delivery = DeliveryFactory(event=EventFactory(device=device), status="failed")
    page.post(DELIVERIES, {"action": "retry_selected", "_selected_action": [delivery.pk]})

    assert NotificationDelivery.objects.get().status == "pending"


def test_delivery_is_shown_and_not_edited(page, device):
    delivery = DeliveryFactory(event=EventFactory(device=device))

    assert "ann@example.com" in page.get(f"{DELIVERIES}{delivery.pk}/change/").content.decode()
    assert page.post(f"{DELIVERIES}{delivery.pk}/change/", {}).status_code == 403
    assert page.get(f"{DELIVERIES}add/").status_code == 403


@pytest.mark.parametrize("url", [TEMPLATES, DELIVERIES])
def test_list_takes_as_many_queries_for_many_rows_as_for_one(page, device, url, django_assert_max_num_queries):
    DeliveryFactory(event=EventFactory(device=device))
    page.get(url)
    with django_assert_max_num_queries(30) as few:
        page.get(url)
    for _ in range(5):
        DeliveryFactory(event=EventFactory(device=device))
    with django_assert_max_num_queries(len(few)):
        page.get(url)


@pytest.mark.parametrize("wrong", [{"timezone": "Mars"}, {"quiet_hours": "night"}, {"escalation_recipients": '["x"]'}])
def test_calm_that_makes_no_sense_is_refused(page, wrong):
    page.post(f"{TEMPLATES}add/", form(**wrong))

    assert not NotificationTemplate.objects.exists()


def test_silence_is_made_in_the_admin(page, admin):
    times = {"starts_at_0": "2026-11-20", "starts_at_1": "10:00", "ends_at_0": "2026-11-21", "ends_at_1": "10:00"}
    page.post("/admin/notifications/silence/add/", {"reason": "maintenance", **times})

    assert Silence.objects.get().created_by == admin
    assert page.get("/admin/notifications/silence/").status_code == 200


def test_delivery_shows_its_attempts(page):
    delivery = DeliveryFactory()
    delivery.attempts.create(started_at=delivery.next_attempt_at, outcome="failed", error="no such host")

    assert "no such host" in page.get(f"{DELIVERIES}{delivery.pk}/change/").content.decode()


def test_page_of_a_template_has_a_test_button(page, mail):
    template = TemplateFactory()
    url = f"{TEMPLATES}{template.pk}/"
    assert f"{url}send-test/" in page.get(f"{url}change/").content.decode()
    assert page.get(f"{url}send-test/").status_code == 200
    assert not mail.messages

    assert page.post(f"{url}send-test/", {"_form_submitted": "1"})["HX-Redirect"] == f"{url}change/"
    assert len(mail.messages) == 1
    assert "ann@example.com: sent" in page.get(f"{url}change/").content.decode()


def test_page_of_a_delivery_shows_the_message_as_it_was_written(page):
    delivery = DeliveryFactory(rendered_message="<b>Hot</b>\nVery", suppressed_by="Silence 3: repair")
    shown = page.get(f"{DELIVERIES}{delivery.pk}/change/").content.decode()

    assert "&lt;b&gt;Hot&lt;/b&gt;<br>Very" in shown
    assert "Silence 3: repair" in shown
