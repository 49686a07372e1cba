"""An event's results follow the commands that it caused."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.devices import command_queue
from apps.devices.models import DeviceCommand
from apps.events.tests.factories import EventFactory
from apps.notifications import services

NOW = datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)


@pytest.fixture
def event(device):
    actions = [{"type": "stop_machine", "machine_id": device.serial_number, "status": "pending", "expires_in": 60}]
    event = EventFactory(device=device, execution_results=actions)
    services.dispatch(event_id=event.pk, now=NOW)
    return event


@pytest.fixture
def command(event):
    return DeviceCommand.objects.get()


def result_of(event):
    event.refresh_from_db()
    return event.execution_results[0]


def take(command, now=NOW):
    return command_queue.take(device_id=command.device_id, now=now)


def answer(command, status, result=None):
    command_queue.acknowledge(device_id=command.device_id, command_id=command.pk, status=status, result=result, now=NOW)


def test_result_says_that_the_machine_has_the_command(event, command):
    take(command)

    assert (result_of(event)["status"], result_of(event)["delivered_at"]) == ("delivered", NOW.isoformat())


def test_result_is_what_the_machine_answered(event, command):
    take(command)
    answer(command, "completed", {"stopped": True})

    result = result_of(event)
    assert (result["status"], result["result"], result["error"]) == ("completed", {"stopped": True}, None)
    assert result["completed_at"] == NOW.isoformat()


def test_failure_of_the_machine_is_told_with_its_reason(event, command):
    take(command)
    answer(command, "failed", {"error": "door open"})

    assert (result_of(event)["status"], result_of(event)["error"]) == ("failed", "door open")


@pytest.mark.parametrize(("taken", "reason"), [(True, "never answered"), (False, "did not take")])
def test_command_that_expired_says_how_far_it_came(event, command, taken, reason):
    if taken:
        take(command)
    command_queue.expire(now=NOW + timedelta(seconds=61))

    assert result_of(event)["status"] == "expired"
    assert reason in result_of(event)["error"]


def test_commands_of_people_belong_to_no_event(device, event):
    from apps.devices import services as device_services

    device_services.queue_command(device=device, name="blink", now=NOW)
    command_queue.take(device_id=device.pk, now=NOW)

    assert len(event.execution_results) == 1
