"""From an event to deliveries and commands: once, whatever happens."""

from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from apps.devices.models import DeviceCommand
from apps.devices.tests.factories import DeviceFactory
from apps.events.tests.concurrency import at_once
from apps.events.tests.factories import EventFactory, RuleFactory
from apps.notifications import actions, services
from apps.notifications.models import NotificationDelivery
from apps.notifications.tests.factories import TemplateFactory

NOW = datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)


@pytest.fixture
def event_with(device):
    """An undispatched event of alex's device with these actions."""

    def make(*actions, **fields):
        results = [{**action, "status": "pending"} for action in actions]
        reading = {"metric": "temperature", "value": 85.5, "unit": "°C"}
        known = {"rule": RuleFactory(device=device), "metadata": {"reading": reading}}
        return EventFactory(device=device, execution_results=results, **known | fields)

    return make


def notify(template=None, **fields):
    return {"type": "notification", **({"template_id": template.pk} if template else {}), **fields}


def dispatch(event):
    created = services.dispatch(event_id=event.pk, now=NOW)
    event.refresh_from_db()
    return created


def refusal(event):
    dispatch(event)
    (result,) = event.execution_results
    assert result["status"] == "failed"
    assert event.dispatched_at == NOW
    assert not NotificationDelivery.objects.exists()
    return result["error"]


# ---- notifications -------------------------------------------------------------------------------


def test_each_recipient_gets_a_delivery_with_the_filled_message(event_with):
    template = TemplateFactory(priority=3, recipients=[{"type": "email", "address": "a@example.com", "name": "A"}])
    event = event_with(notify(template))

    (delivery_id,) = dispatch(event)

    delivery = NotificationDelivery.objects.get(pk=delivery_id)
    assert (delivery.recipient_type, delivery.recipient_address) == ("email", "a@example.com")
    assert (delivery.recipient_name, delivery.priority, delivery.status) == ("A", 3, "pending")
    assert delivery.rendered_message == "Hot bearing on Press 1: 85.5"
    assert delivery.next_attempt_at == event.dispatched_at == NOW
    assert event.execution_results[0]["recipient_count"] == 1


def test_recipients_of_the_action_take_the_place_of_the_templates(event_with):
    event = event_with(notify(TemplateFactory(), recipients=["admin@company.com", "https://example.com/hook"]))
    dispatch(event)

    told = NotificationDelivery.objects.values_list("recipient_type", "recipient_address")
    assert set(told) == {("email", "admin@company.com"), ("webhook", "https://example.com/hook")}


def test_times_are_those_of_the_person_who_is_told(event_with, alex):
    alex.timezone = "Asia/Tokyo"
    alex.save()
    own = {"type": "email", "address": alex.email.upper()}
    told = [own, {"type": "email", "address": "night@example.com", "timezone": "UTC"}, "nobody@example.com"]
    template = TemplateFactory(timezone="Europe/Kyiv", message_template="{{ event.timestamp|date:'H:i' }}")
    dispatch(event_with(notify(template, recipients=told)))

    texts = dict(NotificationDelivery.objects.values_list("recipient_address", "rendered_message"))
    assert texts == {alex.email.upper(): "19:00", "night@example.com": "10:00", "nobody@example.com": "12:00"}


def test_action_without_a_template_tells_in_plain_words(event_with):
    dispatch(event_with(notify(recipients=["a@example.com"])))

    assert "Reading: temperature 85.5 °C" in NotificationDelivery.objects.get().rendered_message


def test_broken_template_does_not_keep_the_message_back(event_with):
    dispatch(event_with(notify(TemplateFactory(message_template="{% nonsense %}"))))

    delivery = NotificationDelivery.objects.get()
    assert "Hot bearing" in delivery.rendered_message
    assert "nonsense" in delivery.error_message


def test_wrong_recipient_does_not_keep_the_others_back(event_with):
    event = event_with(notify(recipients=["a@example.com", {"type": "pigeon", "loft": "3"}]))
    dispatch(event)

    assert NotificationDelivery.objects.get().recipient_address == "a@example.com"
    assert "unknown type 'pigeon'" in event.execution_results[0]["refused"][0]


def test_urgent_deliveries_come_first(event_with):
    later, sooner = TemplateFactory(priority=5), TemplateFactory(priority=1)
    created = dispatch(event_with(notify(later), notify(sooner)))

    assert [NotificationDelivery.objects.get(pk=pk).template for pk in created] == [sooner, later]


def test_missing_template_is_a_failed_result(event_with):
    assert "no template 404" in refusal(event_with({"type": "notification", "template_id": 404}))


def test_inactive_template_is_a_failed_result(event_with):
    assert "not active" in refusal(event_with(notify(TemplateFactory(is_active=False))))


def test_template_of_another_owner_is_a_failed_result(event_with, jordan):
    assert "no template" in refusal(event_with(notify(TemplateFactory(owner=jordan))))


def test_nobody_to_tell_is_a_failed_result(event_with):
    assert "no recipients" in refusal(event_with(notify(TemplateFactory(recipients=[]))))


def test_unknown_action_is_a_failed_result(event_with):
    assert "Unknown action 'sing'" in refusal(event_with({"type": "sing"}))


def test_action_that_breaks_the_hub_is_a_failed_result(event_with, monkeypatch):
    monkeypatch.setitem(actions.HANDLERS, "broken", lambda *_: 1 / 0)
    event = event_with({"type": "broken"}, notify(TemplateFactory()))
    dispatch(event)

    assert [result["status"] for result in event.execution_results] == ["failed", "pending"]
    assert NotificationDelivery.objects.count() == 1


def test_event_without_actions_is_dispatched(event_with):
    event = event_with()

    assert dispatch(event) == []
    assert event.dispatched_at == NOW


def test_retroactive_event_tells_nobody(event_with):
    event = event_with(notify(TemplateFactory()), metadata={"retroactive": True})

    assert dispatch(event) == []
    assert event.execution_results[0]["status"] == "skipped"


def test_event_of_a_deleted_rule_is_told_by_its_old_name(event_with):
    event = event_with(notify(TemplateFactory()), rule=None, metadata={"rule": {"name": "Old rule"}})
    dispatch(event)

    assert NotificationDelivery.objects.get().rendered_message.startswith("Old rule on Press 1")


# ---- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["serial_number", "id"])
def test_machine_is_told_by_a_command(event_with, alex, name):
    machine = DeviceFactory(owner=alex, serial_number="M-123")
    event = event_with({"type": "stop_machine", "machine_id": str(getattr(machine, name)), "params": {"slow": True}})
    dispatch(event)

    command = DeviceCommand.objects.get()
    assert (command.device, command.name, command.params) == (machine, "stop_machine", {"slow": True})
    assert event.execution_results[0]["status"] == "queued"
    assert event.execution_results[0]["command_id"] == str(command.pk)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"machine_id": "M-999"}, "no machine 'M-999'"),
        ({"machine_id": "VIB-SN-001", "expires_in": -1}, "seconds"),
        ({"machine_id": "VIB-SN-001", "expires_in": "soon"}, "seconds"),
        ({"machine_id": "VIB-SN-001", "params": [1]}, "params"),
        ({}, "Unknown action 'stop_machine'"),
    ],
)
def test_impossible_command_is_a_failed_result(event_with, action, reason):
    assert reason in refusal(event_with({"type": "stop_machine"} | action))
    assert not DeviceCommand.objects.exists()


def test_machine_of_another_owner_is_not_stopped(event_with, jordan):
    DeviceFactory(owner=jordan, serial_number="M-123")

    assert "no machine 'M-123'" in refusal(event_with({"type": "stop_machine", "machine_id": "M-123"}))


# ---- exactly once --------------------------------------------------------------------------------


def test_dispatching_again_changes_nothing(event_with):
    event = event_with(notify(TemplateFactory()), {"type": "stop_machine", "machine_id": "VIB-SN-001"})
    dispatch(event)

    assert dispatch(event) == []
    assert (NotificationDelivery.objects.count(), DeviceCommand.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_two_workers_dispatch_an_event_once(event_with):
    event = event_with(notify(TemplateFactory()), {"type": "stop_machine", "machine_id": "VIB-SN-001"})

    at_once(lambda: services.dispatch(event_id=event.pk, now=NOW), times=4)

    assert (NotificationDelivery.objects.count(), DeviceCommand.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_worker_that_dies_while_dispatching_leaves_nothing_half_done(event_with, monkeypatch):
    def die(*_):
        raise OperationalError("the connection is gone")

    monkeypatch.setitem(actions.HANDLERS, "fatal", die)
    event = event_with(notify(TemplateFactory()), {"type": "fatal"})
    with pytest.raises(OperationalError):
        services.dispatch(event_id=event.pk, now=NOW)
    assert not NotificationDelivery.objects.exists()

    monkeypatch.setitem(actions.HANDLERS, "fatal", lambda *_: {"status": "completed"})
    assert len(dispatch(event)) == 1


def test_event_that_cannot_be_dispatched_does_not_hold_up_others(event_with, monkeypatch):
    stuck, fine = event_with({"type": "fatal"}), event_with(notify(TemplateFactory()))

    def die(*_):
        raise OperationalError("again and again")

    monkeypatch.setitem(actions.HANDLERS, "fatal", die)
    created = [ids for ids in services.dispatch_pending(now=NOW) if ids]

    fine.refresh_from_db()
    stuck.refresh_from_db()
    assert len(created) == 1
    assert (fine.dispatched_at, stuck.dispatched_at) == (NOW, None)


def test_dispatch_takes_a_fixed_number_of_queries(event_with, django_assert_max_num_queries):
    event = event_with(notify(TemplateFactory(), recipients=[f"p{n}@example.com" for n in range(50)]))

    with django_assert_max_num_queries(11):
        assert len(services.dispatch(event_id=event.pk, now=NOW)) == 50
