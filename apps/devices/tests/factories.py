import factory

from apps.devices.models import Device, DeviceKey, DeviceMetric, DeviceType, Location, Metric
from apps.users.tests.factories import UserFactory


class DeviceTypeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = DeviceType

    name = factory.Sequence(lambda n: f"vibration_sensor_{n}")
    metric_name = "vibration"
    metric_unit = "mm/s"


class LocationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Location

    name = factory.Sequence(lambda n: f"Workshop {n}")


class DeviceFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Device

    serial_number = factory.Sequence(lambda n: f"SN-{n:05}")
    name = factory.Sequence(lambda n: f"Device {n}")
    device_type = factory.SubFactory(DeviceTypeFactory)
    owner = factory.SubFactory(UserFactory)


class MetricFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Metric

    name = factory.Sequence(lambda n: f"metric_{n}")
    data_type = Metric.DataType.NUMERIC


class DeviceMetricFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = DeviceMetric

    device = factory.SubFactory(DeviceFactory)
    metric = factory.SubFactory(MetricFactory)


class DeviceKeyFactory(factory.django.DjangoModelFactory):
    """`DeviceKeyFactory(secret="iot_…")`: the row for a secret that the test knows."""

    class Meta:
        model = DeviceKey
        exclude = ("secret",)

    secret = factory.LazyFunction(DeviceKey.new_secret)
    device = factory.SubFactory(DeviceFactory)
    owner = factory.SelfAttribute("device.owner")
    prefix = factory.LazyAttribute(lambda key: key.secret[:12])
    digest = factory.LazyAttribute(lambda key: DeviceKey.digest_of(key.secret))
