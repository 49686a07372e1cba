"""SMS and chat: what is taken, where it goes, what stays secret."""

import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from standardwebhooks import Webhook

from apps.events.tests.factories import EventFactory
from apps.notifications import recipients, services
from apps.notifications.channels import DeliveryFailed, Message, send
from apps.notifications.tests.factories import TemplateFactory

OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def message(**fields):
    return Message(
        **{"key": "k1", "delivery": "1", "address": "#ops", "subject": "Hot", "text": "Hot bearing"} | fields
    )


def chat(secret):
    return {"type": "chat", "address": "#ops", "secret": secret}


@pytest.mark.parametrize(
    "secret",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "tgram://123:abc/-1001",
        "ntfy://topic",
        "discord://1/a",
        "workflows://prod-12.westeurope.logic.azure.com:443/1234567890abcdef/sigXYZ",
    ],
)
def test_services_with_a_fixed_host_are_taken(secret):
    assert recipients.normalise([chat(secret)])


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("json://127.0.0.1/", "services are"),
        ("file:///etc/passwd", "services are"),
        ("ntfy://127.0.0.1/topic", "allow the host '127.0.0.1'"),
        ("ntfy://127.0.0.1:81", "allow the host"),
        ("ntfys://hub.internal/topic", "allow the host"),
        ("workflows://logic.azure.com.evil.example/a/b", "allow the host"),
        ("workflows://evil-logic.azure.com.example/a/b", "allow the host"),
        ("msteams://a@b/c/d/e", "services are"),
        ("slack://a/b/c?mode=w", "without parameters"),
        ("ntfy://topic?mode=private", "without parameters"),
        ("ntfy://topic%3Fmode=private", "without parameters"),
        ("", "secret is missing"),
    ],
)
def test_what_could_lead_elsewhere_is_refused(secret, reason):
    with pytest.raises(recipients.InvalidRecipients, match=reason):
        recipients.normalise([chat(secret)])


def test_chat_server_of_ones_own_gets_the_message_once_allowed(hook, settings):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"ALLOWED_CHAT_HOSTS": [hook.address]}
    hook.status = 200
    send("chat", message(secret=f"ntfy://{hook.address}/topic"))

    assert "Hot bearing" in hook.requests[0].body.decode()


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(401, True), (403, True), (404, True), (410, True), (302, False), (429, False), (500, False)],
)
def test_chat_service_that_knows_us_no_more_is_not_asked_again(hook, settings, status, permanent):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"ALLOWED_CHAT_HOSTS": [hook.address]}
    hook.status, hook.headers = status, {"Location": f"{hook.url}/elsewhere"}
    with pytest.raises(DeliveryFailed, match=str(status)) as failed:
        send("chat", message(secret=f"ntfy://{hook.address}/topic"))

    assert (failed.value.permanent, failed.value.status) == (permanent, status)
    assert len(hook.requests) == 1


def test_chat_service_that_is_not_reached_is_asked_again(hook, settings):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"ALLOWED_CHAT_HOSTS": [hook.address]}
    hook.resets = True
    with pytest.raises(DeliveryFailed) as failed:
        send("chat", message(secret=f"ntfy://{hook.address}/topic"))

    assert (failed.value.permanent, failed.value.status) == (False, None)


def test_host_that_is_not_allowed_any_more_is_not_asked(hook):
    with pytest.raises(DeliveryFailed) as failed:
        send("chat", message(secret=f"ntfy://{hook.address}/topic"))
    assert failed.value.permanent
    assert hook.requests == []


def test_url_of_a_chat_service_never_leaves_the_template(db, device):
    template = TemplateFactory(recipients=[chat("tgram://123:abc/-1001")])
    action = {"type": "notification", "template_id": template.pk, "status": "pending"}
    event = EventFactory(device=device, execution_results=[action])
    services.dispatch(event_id=event.pk, now=event.timestamp)

    delivery = event.deliveries.get()
    assert (delivery.recipient_address, delivery.lane) == ("#ops", "chat tgram")


def test_text_message_goes_to_the_operators_gateway(hook, settings):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"SMS_URL": hook.url}

    assert send("sms", message(address="+380501234567")) == 204
    assert hook.requests[0].json == {"to": "+380501234567", "text": "Hot\nHot bearing", "id": "k1"}


@pytest.mark.parametrize(("status", "permanent"), [(400, True), (503, False), (302, False)])
def test_gateway_that_refuses_is_a_failure(hook, settings, status, permanent):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"SMS_URL": hook.url}
    hook.status = status
    with pytest.raises(DeliveryFailed) as failed:
        send("sms", message(address="+380501234567"))
    assert (failed.value.permanent, failed.value.status) == (permanent, status)


def test_hub_without_a_gateway_says_so():
    with pytest.raises(DeliveryFailed, match="SMS_URL"):
        send("sms", message(address="+380501234567"))


@pytest.mark.parametrize("number", ["0501234567", "+38 050", "+0", "hello"])
def test_number_is_international(number):
    with pytest.raises(recipients.InvalidRecipients, match="telephone number"):
        recipients.normalise([{"type": "sms", "address": number}])


def test_webhook_carries_both_signatures_while_its_secret_changes(hook):
    send("webhook", message(address=hook.url, secret=NEW, previous_secret=OLD))

    (request,) = hook.requests
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(request.body, request.headers) is not None


def test_web_process_does_not_load_apprise():
    code = "import sys, django; django.setup(); import iot_hub.urls; sys.exit('apprise' in sys.modules)"
    environment = {"DJANGO_SETTINGS_MODULE": "iot_hub.settings", "SECRET_KEY": "x" * 40}
    subprocess.run([sys.executable, "-c", code], cwd=django_settings.BASE_DIR, env=environment, check=True)
