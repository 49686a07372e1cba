import factory

from apps.devices.tests.factories import DeviceFactory, MetricFactory
from apps.rules.models import Rule


class RuleFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Rule

    name = "Hot bearing"
    device = factory.SubFactory(DeviceFactory)
    owner = factory.SelfAttribute("device.owner")
    metric = factory.SubFactory(MetricFactory, name="temperature")
    condition = factory.LazyFunction(lambda: {"type": "threshold", "operator": "gt", "threshold": 80})
    cooldown_minutes = 0
