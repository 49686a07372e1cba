"""Fills a fresh hub with the devices, metrics, key and rules of the benchmark. Runs in the hub's own environment, and
prints the key and the ids of the series, in the order of device and metric, as JSON.
"""

import argparse
import json

import django

django.setup()

from django.utils import timezone
from messages import DEVICES, METRICS, THRESHOLD, WATCHED_EVERY, serial_number

from apps.devices import services as device_services
from apps.devices.models import Device, DeviceMetric, DeviceType
from apps.rules import services as rule_services
from apps.rules.models import Rule
from apps.users.models import User


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watched-every", type=int, default=WATCHED_EVERY, help="which series have a rule")
    parser.add_argument("--cooldown", type=int, default=15, help="of the rules, in minutes")
    options = parser.parse_args()
    owner = User.objects.create_user("bench", "bench@localhost")
    kind = DeviceType.objects.create(name="Press", metric_name=METRICS[0], metric_unit="°C")
    devices = [_device(number, owner, kind) for number in range(DEVICES)]
    series = [binding for device in devices for binding in _bindings(device)]
    rules = [_rule(binding, owner, options.cooldown) for binding in series[:: options.watched_every]]
    rule_services.replace_rules(delete=[], save=rules, now=timezone.now())
    _, key = device_services.issue_key(device=devices[0], name="bench", scope="owner", now=timezone.now())
    print(json.dumps({"key": key, "series": [binding.pk for binding in series]}))


def _device(number: int, owner: User, kind: DeviceType) -> Device:
    serial = serial_number(number)
    return device_services.create_device(serial_number=serial, name=serial, owner=owner, device_type=kind)


def _bindings(device: Device) -> list[DeviceMetric]:
    return device_services.bind_metrics(device=device, metrics=[(metric, "numeric") for metric in METRICS])


def _rule(binding: DeviceMetric, owner: User, cooldown: int) -> Rule:
    return Rule(
        name=f"{binding.metric.name} of {binding.device.name}",
        owner=owner,
        device=binding.device,
        metric=binding.metric,
        condition={"type": "threshold", "operator": "gt", "threshold": THRESHOLD},
        cooldown_minutes=cooldown,
    )


if __name__ == "__main__":
    main()
