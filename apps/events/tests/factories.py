from datetime import UTC, datetime

import factory

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.events.models import Event


class RuleFactory(factory.django.DjangoModelFactory):
    """Named by text, since events don't import rules."""

    class Meta:
        model = "rules.Rule"

    name = "Hot bearing"
    device = factory.SubFactory(DeviceFactory)
    owner = factory.SelfAttribute("device.owner")
    metric = factory.SubFactory(MetricFactory)
    condition = factory.LazyFunction(lambda: {"type": "threshold", "operator": "gt", "threshold": 80})


class EventFactory(factory.django.DjangoModelFactory):
    """An open event of a device, of no rule: `EventFactory(device=device, rule=rule)`."""

    class Meta:
        model = Event

    device = factory.SubFactory(DeviceFactory)
    device_metric = factory.SubFactory(DeviceMetricFactory, device=factory.SelfAttribute("..device"))
    timestamp = datetime(2026, 11, 20, 10, tzinfo=UTC)
    reading_ts = factory.SelfAttribute("timestamp")
    severity = Event.Severity.WARNING
    message = "Hot bearing: temperature > 80 °C, measured 85.5 on Press 1"
