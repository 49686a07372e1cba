from datetime import UTC, datetime

import pytest

from apps.devices.tests.factories import DeviceFactory
from apps.events.masking import MASK
from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationDelivery, NotificationTemplate
from apps.notifications.tests.factories import DeliveryFactory, TemplateFactory

TEMPLATES = "/api/v1/notification-templates/"
DELIVERIES = "/api/v1/notification-deliveries/"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = {
    "name": "Critical Alert",
    "message_template": "{{ device.name }}: {{ reading.value }}",
    "recipients": ["admin@company.com"],
}


def errors(response):
    assert response.status_code == 400, response.data
    return {error["field"]: error["message"] for error in response.data["errors"]}


def ids(response):
    assert response.status_code == 200, response.data
    return {row["id"] for row in response.data["results"]}


# ---- templates -----------------------------------------------------------------------------------


def test_template_of_a_client_is_the_clients_own(api, alex):
    response = api(alex).post(TEMPLATES, NEW)

    assert response.status_code == 201, response.data
    assert response.data["owner"] == alex.pk
    assert response.data["recipients"] == [{"type": "email", "address": "admin@company.com"}]
    assert (response.data["priority"], response.data["retry_count"], response.data["retry_delay_minutes"]) == (1, 3, 5)


def test_template_of_an_admin_is_shared(api, admin):
    assert api(admin).post(TEMPLATES, NEW).data["owner"] is None


def test_admin_makes_a_template_for_a_client(api, admin, alex):
    assert api(admin).post(TEMPLATES, NEW | {"owner": alex.pk}).data["owner"] == alex.pk


def test_client_makes_templates_for_nobody_else(api, alex, jordan):
    client = api(alex)

    assert "owner" in errors(client.post(TEMPLATES, NEW | {"owner": jordan.pk}))
    assert "owner" in errors(client.post(TEMPLATES, NEW | {"owner": None}))
    assert client.post(TEMPLATES, NEW | {"owner": alex.pk}).status_code == 201


def test_client_does_not_share_a_template_afterwards(api, alex):
    template = TemplateFactory(owner=alex)

    assert "owner" in errors(api(alex).patch(f"{TEMPLATES}{template.pk}/", {"owner": None}))


def test_clients_see_their_own_templates_and_shared_ones(api, alex, jordan, admin):
    own, others, shared = (TemplateFactory(owner=owner) for owner in (alex, jordan, None))

    assert ids(api(alex).get(TEMPLATES)) == {own.pk, shared.pk}
    assert ids(api(admin).get(TEMPLATES)) == {own.pk, others.pk, shared.pk}


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("patch", ""), ("delete", ""), ("post", "test/")])
def test_template_of_another_owner_is_not_found(api, alex, jordan, method, path):
    template = TemplateFactory(owner=jordan)

    assert getattr(api(alex), method)(f"{TEMPLATES}{template.pk}/{path}").status_code == 404


@pytest.mark.parametrize(("method", "path"), [("patch", ""), ("put", ""), ("delete", ""), ("post", "test/")])
def test_shared_template_is_changed_by_admins_only(api, alex, method, path):
    template = TemplateFactory()
    client = api(alex)

    assert client.get(f"{TEMPLATES}{template.pk}/").status_code == 200
    assert getattr(client, method)(f"{TEMPLATES}{template.pk}/{path}", NEW).status_code == 403


def test_owner_changes_and_deletes_a_template(api, alex):
    template = TemplateFactory(owner=alex)
    client = api(alex)

    assert client.patch(f"{TEMPLATES}{template.pk}/", {"priority": 7}).data["priority"] == 7
    assert client.delete(f"{TEMPLATES}{template.pk}/").status_code == 204
    assert not NotificationTemplate.objects.exists()


def test_name_is_taken_once_per_owner(api, alex, jordan):
    api(alex).post(TEMPLATES, NEW)

    assert errors(api(alex).post(TEMPLATES, NEW)) == {"name": "A template with this name already exists."}
    assert api(jordan).post(TEMPLATES, NEW).status_code == 201


@pytest.mark.parametrize("field", ["message_template", "subject_template"])
def test_template_with_a_syntax_error_is_refused(api, alex, field):
    refused = errors(api(alex).post(TEMPLATES, NEW | {field: "{% if device.name %}"}))

    assert "Unclosed tag" in refused[field]


def test_wrong_recipients_are_each_named(api, alex):
    recipients = ["ok@example.com", "nonsense", {"type": "pigeon", "loft": "3"}]
    refused = errors(api(alex).post(TEMPLATES, NEW | {"recipients": recipients}))

    assert set(refused) == {"recipients.1", "recipients.2"}
    assert "there are: chat, email, sms, webhook" in refused["recipients.2"]


def test_missing_fields_are_named(api, alex):
    assert set(errors(api(alex).post(TEMPLATES, {}))) == {"name", "message_template"}


def test_secret_goes_in_and_does_not_come_out(api, alex):
    hook = {"type": "webhook", "url": "https://example.com/hook", "secret": SECRET}
    response = api(alex).post(TEMPLATES, NEW | {"recipients": [hook]})

    assert response.data["recipients"] == [hook | {"secret": MASK}]
    assert NotificationTemplate.objects.get().recipients == [hook]


def test_mask_sent_back_keeps_the_secret(api, alex):
    hook = {"type": "webhook", "url": "https://example.com/hook", "secret": SECRET}
    template = TemplateFactory(owner=alex, recipients=[hook])
    shown = api(alex).get(f"{TEMPLATES}{template.pk}/").data["recipients"]

    response = api(alex).patch(f"{TEMPLATES}{template.pk}/", {"recipients": [*shown, "b@example.com"]})

    assert response.status_code == 200
    template.refresh_from_db()
    assert template.recipients == [hook, {"type": "email", "address": "b@example.com"}]


def test_mask_is_no_secret_for_another_url(api, alex):
    hook = {"type": "webhook", "url": "https://example.com/hook", "secret": SECRET}
    template = TemplateFactory(owner=alex, recipients=[hook])
    moved = [{"type": "webhook", "url": "https://evil.example.com/", "secret": MASK}]

    refused = errors(api(alex).patch(f"{TEMPLATES}{template.pk}/", {"recipients": moved}))
    assert "sent again" in refused["recipients.0"]


def test_list_of_templates_takes_one_query(api, alex, django_assert_num_queries):
    TemplateFactory.create_batch(5, owner=alex)
    client = api(alex)

    with django_assert_num_queries(1):
        assert len(ids(client.get(TEMPLATES))) == 5


# ---- the test button -----------------------------------------------------------------------------


def test_test_button_tells_how_each_recipient_fared(api, alex, mail, hook):
    hook.status = 500
    recipients = [{"type": "email", "address": "a@example.com"}, {"type": "webhook", "url": hook.url}]
    template = TemplateFactory(owner=alex, recipients=recipients)

    response = api(alex).post(f"{TEMPLATES}{template.pk}/test/")

    assert response.status_code == 200
    assert response.data["results"] == [
        {"recipient": "a@example.com", "status": "sent", "error": None},
        {"recipient": hook.url, "status": "failed", "error": "The receiver answered 500."},
    ]
    assert mail.messages[0]["subject"] == "[test] [warning] Hot bearing: Press 1"
    assert hook.requests[0].json["message"] == "Hot bearing on Press 1: 85.5"
    assert not NotificationDelivery.objects.exists()


# ---- deliveries ----------------------------------------------------------------------------------


@pytest.fixture
def delivery(device):
    return DeliveryFactory(event=EventFactory(device=device))


def test_clients_see_deliveries_about_their_own_devices(api, alex, jordan, admin, delivery):
    other = DeliveryFactory(event=EventFactory(device=DeviceFactory(owner=jordan)))

    assert ids(api(alex).get(DELIVERIES)) == {delivery.pk}
    assert ids(api(admin).get(DELIVERIES)) == {delivery.pk, other.pk}
    assert api(alex).get(f"{DELIVERIES}{other.pk}/").status_code == 404
    assert api(alex).post(f"{DELIVERIES}{other.pk}/retry/").status_code == 404


def test_deliveries_are_filtered_by_event_and_status(api, alex, device, delivery):
    sent = DeliveryFactory(event=EventFactory(device=device), status="sent")
    client = api(alex)

    assert ids(client.get(DELIVERIES, {"event": sent.event_id})) == {sent.pk}
    assert ids(client.get(DELIVERIES, {"status": "pending"})) == {delivery.pk}
    assert "status" in errors(client.get(DELIVERIES, {"status": "lost"}))
    assert "event" in errors(client.get(DELIVERIES, {"event": "x"}))


def test_list_of_deliveries_takes_one_query(api, alex, device, django_assert_num_queries):
    for _ in range(5):
        DeliveryFactory(event=EventFactory(device=device))
    client = api(alex)

    with django_assert_num_queries(1):
        assert len(ids(client.get(DELIVERIES))) == 5


def test_failed_delivery_is_tried_afresh(api, alex, delivery):
    result = {"type": "notification", "status": "failed", "completed_at": "2026-11-20T10:00:00Z"}
    delivery.event.execution_results = [result]
    delivery.event.save()
    NotificationDelivery.objects.update(status="failed", attempt_count=4, claimed_at=datetime.now(UTC))

    response = api(alex).post(f"{DELIVERIES}{delivery.pk}/retry/")

    assert response.status_code == 200
    assert (response.data["status"], response.data["attempt_count"]) == ("pending", 0)
    delivery.event.refresh_from_db()
    assert delivery.event.execution_results[0]["status"] == "pending"


@pytest.mark.parametrize("status", ["pending", "sent"])
def test_only_a_failed_delivery_is_tried_again(api, alex, delivery, status):
    NotificationDelivery.objects.update(status=status)

    assert api(alex).post(f"{DELIVERIES}{delivery.pk}/retry/").status_code == 409


def test_deliveries_are_not_made_by_hand(api, admin, delivery):
    assert api(admin).post(DELIVERIES, {}).status_code == 405
    assert api(admin).delete(f"{DELIVERIES}{delivery.pk}/").status_code == 405
