"""Channels against real servers."""

import socket

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from apps.notifications import channels
from apps.notifications.channels import DeliveryFailed, Message
from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver, free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(address, **changes):
    fields = {"key": "hub.7", "delivery": "7", "subject": "Hot bearing", "text": "85.5 °C"}
    return Message(address=address, **fields | {"payload": {"message": "85.5 °C"}} | changes)


def send_failing(channel, *args, **changes):
    with pytest.raises(DeliveryFailed) as failure:
        channels.send(channel, message(*args, **changes))
    return failure.value


# ---- email ---------------------------------------------------------------------------------------


def test_email_arrives(mail):
    channels.send("email", message("ann@example.com", name="Ann"))

    (received,) = mail.messages
    assert received["subject"] == "Hot bearing"
    assert received["to"] == "Ann <ann@example.com>"
    assert received.get_content().strip() == "85.5 °C"


def test_email_is_the_same_message_at_every_attempt(mail):
    for _ in range(2):
        channels.send("email", message("ann@example.com"))

    first, second = mail.messages
    assert first["message-id"] == second["message-id"] == "<hub.7@127.0.0.1>"
    assert first["x-iot-hub-delivery"] == "7"


@pytest.mark.parametrize("field", ["subject", "name"])
def test_line_break_does_not_become_a_header(mail, field):
    channels.send("email", message("ann@example.com", **{field: "Press 1\r\nBcc: eve@example.com"}))

    (received,) = mail.messages
    assert "bcc" not in received
    assert "Press 1 Bcc: eve@example.com" in received["subject" if field == "subject" else "to"]


def test_unknown_mailbox_is_a_permanent_failure(settings):
    with SmtpSink(replies={"gone@example.com": "550 no such user"}) as sink:
        settings.MAILERS = sink.mailers
        failure = send_failing("email", "gone@example.com")

    assert failure.permanent
    assert "no such user" in str(failure)


def test_busy_mailbox_is_tried_again(settings):
    with SmtpSink(replies={"busy@example.com": "451 come back later"}) as sink:
        settings.MAILERS = sink.mailers
        assert not send_failing("email", "busy@example.com").permanent


def test_absent_mail_server_is_tried_again(settings):
    settings.MAILERS = SmtpSink().mailers

    assert not send_failing("email", "ann@example.com").permanent


def test_refused_login_is_tried_again(mail, settings):
    settings.MAILERS["default"]["OPTIONS"] |= {"username": "hub", "password": "pass-phrase"}
    failure = send_failing("email", "ann@example.com")

    assert str(failure) == "Mail server refused our login: 535"
    assert not failure.permanent


# ---- webhook -------------------------------------------------------------------------------------


def test_webhook_posts_its_payload(hook):
    channels.send("webhook", message(hook.url))

    (request,) = hook.requests
    assert request.json == {"message": "85.5 °C"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "hub.7"
    assert "webhook-signature" not in request.headers


def test_webhook_is_signed_so_that_a_receiver_can_check_it(hook):
    channels.send("webhook", message(hook.url, secret=SECRET))

    (request,) = hook.requests
    assert Webhook(SECRET).verify(request.body, request.headers) == {"message": "85.5 °C"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", request.headers)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (404, True), (410, True), (408, False), (425, False), (429, False), (500, False), (503, False)],
)
def test_answer_decides_whether_to_try_again(hook, status, permanent):
    hook.status, hook.body = status, b"no thanks"
    failure = send_failing("webhook", hook.url)

    assert failure.permanent is permanent
    assert str(failure) == f"The receiver answered {status}. no thanks"


def test_redirect_is_not_followed(hook):
    with WebhookReceiver() as elsewhere:
        hook.status, hook.headers = 302, {"Location": elsewhere.url}
        send_failing("webhook", hook.url)
    assert elsewhere.requests == []


def test_endless_answer_is_not_read(hook):
    hook.status, hook.body = 500, b"x" * 10_000_000

    assert len(str(send_failing("webhook", hook.url))) < 400


def test_silent_receiver_is_left_after_the_timeout(hook):
    hook.delay = 3

    assert not send_failing("webhook", hook.url).permanent


def test_absent_receiver_is_tried_again(settings):
    port = free_port()
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"ALLOWED_PRIVATE_HOSTS": ["127.0.0.1"]}

    assert not send_failing("webhook", f"http://127.0.0.1:{port}/").permanent


PRIVATE_HOSTS = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "2130706433",
    "0x7f.1",
    "10.1.2.3",
    "169.254.169.254",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_private_network_is_out_of_reach(host, settings):
    with WebhookReceiver() as inside:
        failure = send_failing("webhook", f"http://{host}:{inside.address.split(':')[1]}/")

    assert failure.permanent
    assert "private network" in str(failure)
    assert inside.requests == []


def test_name_that_leads_inside_is_out_of_reach(settings, monkeypatch):
    def resolve(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.1.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert "private network" in str(send_failing("webhook", "http://innocent.example.com/"))


def test_only_the_allowed_port_of_a_private_host_is_in_reach(hook):
    with WebhookReceiver() as neighbour:
        failure = send_failing("webhook", neighbour.url)

    assert failure.permanent
    assert neighbour.requests == []


def test_environment_proxy_is_not_used(hook, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    channels.send("webhook", message(hook.url))

    assert len(hook.requests) == 1


def test_unknown_channel_is_a_permanent_failure():
    assert send_failing("pigeon", "loft 3").permanent


def test_secret_is_not_in_a_message_written_to_a_log():
    assert SECRET not in repr(message("https://example.com/", secret=SECRET))
