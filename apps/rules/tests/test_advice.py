"""What a rule's author is told at once."""

import pytest

from apps.devices.tests.factories import DeviceFactory, MetricFactory


@pytest.fixture
def save(api, alex, device):
    MetricFactory(name="vibration")

    def post(**fields):
        known = {"name": "Shaking", "device": str(device.pk), "metric": "vibration", "operator": "gt", "threshold": 7}
        answer = api(alex).post("/api/v1/rules/", known | fields)
        assert answer.status_code == 201, answer.content
        return answer.json()

    return post


def stop(machine_id):
    return {"type": "stop_machine", "machine_id": machine_id}


def test_machine_that_does_not_exist_is_a_warning(save):
    assert save(action_config=[stop("M-404")])["warnings"] == ["There is no machine 'M-404'; this action will fail."]


def test_machine_of_another_owner_does_not_exist(save):
    DeviceFactory(serial_number="M-THEIRS")
    assert len(save(action_config=[stop("M-THEIRS")])["warnings"]) == 1


def test_machine_of_ones_own_is_no_warning(save, api, alex, device):
    rule = save(action_config=[stop(device.serial_number), stop(str(device.pk))])
    assert rule["warnings"] == []
    answer = api(alex).patch(f"/api/v1/rules/{rule['id']}/", {"action_config": [stop("M-404")]})
    assert len(answer.json()["warnings"]) == 1
