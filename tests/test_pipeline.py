"""The whole thread through real processes: a reading comes in over a socket, mail and webhook go out."""

import pytest
import requests

from apps.devices.tests.factories import MetricFactory
from apps.events.models import Event
from apps.notifications.models import NotificationDelivery
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.models import Reading, WatchedBatch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

PASSWORD = "a-Long-passw0rd"


@pytest.fixture
def hub(start_hub, telling):
    """One worker does everything."""
    return start_hub("web", "worker", "beat", **telling)


@pytest.fixture
def person(hub, device, alex):
    """Alex at a terminal: `person.post("rules/", {...})` and so on, logged in over HTTP."""
    return Person(hub.url, alex.username)


@pytest.fixture
def sensor(person, device):
    """The device, with a key that alex made: `sensor(vibration=5.2)` posts readings and wants them stored."""
    key = person.post(f"devices/{device.pk}/keys/", {"name": "test"})["key"]

    def post(**metrics):
        answer = requests.post(
            f"{person.url}/telemetry/",
            json={"serial_number": device.serial_number, "metrics": metrics},
            headers={"Authorization": f"Token {key}"},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text

    return post


@pytest.fixture
def rule(person, device, hook):
    """Tells by mail and by webhook when vibration exceeds 7."""
    MetricFactory(name="vibration")
    recipients = [{"type": "email", "address": "crew@example.com"}, {"type": "webhook", "url": hook.url}]
    template = person.post(
        "notification-templates/",
        {
            "name": "crew",
            "message_template": "{{ device.name }}: {{ reading.value }} ({{ rule.name }}, {{ event.severity }})",
            "recipients": recipients,
            "retry_delay_minutes": 0,
        },
    )
    return person.post(
        "rules/",
        {
            "name": "Shaking",
            "device": str(device.pk),
            "metric": "vibration",
            "severity": "critical",
            "operator": "gt",
            "threshold": 7,
            "cooldown_minutes": 0,
            "action_config": [{"type": "notification", "template_id": template["id"]}],
        },
    )


class Person:
    def __init__(self, url: str, username: str):
        self.url = f"{url}/api/v1"
        self._headers: dict[str, str] = {}
        token = self.post("auth/token/", {"username": username, "password": PASSWORD})["access"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, document: dict) -> dict:
        return self._ask("post", path, json=document)

    def get(self, path: str) -> dict:
        return self._ask("get", path)

    def _ask(self, method: str, path: str, **arguments) -> dict:
        answer = requests.request(method, f"{self.url}/{path}", headers=self._headers, timeout=10, **arguments)
        assert answer.ok, answer.text
        return answer.json()


def all_sent() -> bool:
    statuses = set(NotificationDelivery.objects.values_list("status", flat=True))
    return statuses == {NotificationDelivery.Status.SENT} and not WatchedBatch.objects.exists()


def test_reading_over_the_threshold_is_told_by_mail_and_webhook(person, rule, sensor, mail, hook):
    sensor(vibration=3.1, temperature=20.5)
    sensor(vibration=9.3)
    wait_for(lambda: mail.messages and hook.requests and all_sent(), seconds=20)

    (event,) = person.get("events/")["results"]
    deliveries = person.get(f"notification-deliveries/?event={event['id']}")["results"]
    assert (event["status"], event["severity"], event["rule"]) == ("new", "critical", rule["id"])
    assert {(row["recipient_type"], row["status"]) for row in deliveries} == {("email", "sent"), ("webhook", "sent")}
    assert "Press 1: 9.3 (Shaking, critical)" in mail.messages[0].get_content()
    assert hook.requests[0].json["event"]["id"] == event["id"]

    sensor(vibration=2.0)
    wait_for(lambda: person.get(f"events/{event['id']}/")["status"] == "resolved", seconds=20)
    assert len(mail.messages) == len(hook.requests) == 1


def test_readings_while_no_worker_lives_are_judged_when_one_does(hub, rule, sensor, mail, hook):
    hub.kill("worker")
    sensor(vibration=9.3)
    sensor(vibration=9.9)
    hub.start("worker")
    wait_for(lambda: mail.messages and hook.requests and all_sent(), seconds=40)

    assert Event.objects.count() == 1
    assert len(mail.messages) == len(hook.requests) == 1


def test_worker_killed_while_sending_delays_and_loses_nothing(hub, rule, sensor, mail, hook):
    hook.delay = 0.9
    sensor(vibration=9.3)
    wait_for(lambda: hook.requests, seconds=20)
    hub.kill("worker")
    hook.delay = 0
    hub.start("worker")
    wait_for(all_sent, seconds=60)

    # What was under way when the worker died goes out again, under the id of the first attempt.
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 1
    assert len({message["Message-ID"] for message in mail.messages}) == 1
    assert Event.objects.get().execution_results[0]["status"] == "completed"


def test_web_process_killed_after_its_answer_has_lost_nothing(hub, rule, sensor, mail, hook):
    sensor(vibration=9.3)
    hub.kill("web")
    wait_for(lambda: mail.messages and hook.requests and all_sent(), seconds=30)

    assert Reading.objects.count() == 1
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"metrics": ', {}, 400),
        (b'{"serial_number": "NO-SUCH", "metrics": {"vibration": 1}}', {}, 403),
        (b'{"metrics": {"vibration": "high"}}', {}, 400),
        (b'{"metrics": {"vibration": 1}}', {"Authorization": "Token iot_wrong"}, 401),
        (b" " * 20_000_000, {}, 413),
        (b"<xml/>", {"Content-Type": "text/xml"}, 415),
    ],
    ids=["malformed", "other device", "text for a number", "wrong key", "20 MB", "xml"],
)
def test_bad_input_over_the_socket_gets_its_answer_and_the_hub_goes_on(
    hub, person, rule, sensor, device, body, headers, status
):
    sensor(vibration=1.0)
    key = person.post(f"devices/{device.pk}/keys/", {})["key"]
    usual = {"Authorization": f"Token {key}", "Content-Type": "application/json"}
    answer = requests.post(f"{hub.url}/api/v1/telemetry/", data=body, headers=usual | headers, timeout=30)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    sensor(vibration=2.0)
