from datetime import UTC, datetime

import factory

from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationDelivery, NotificationTemplate, Silence


class TemplateFactory(factory.django.DjangoModelFactory):
    """A shared template, unless it is given an owner."""

    class Meta:
        model = NotificationTemplate

    name = factory.Sequence(lambda n: f"Template {n}")
    message_template = "{{ rule.name }} on {{ device.name }}: {{ reading.value }}"
    recipients = factory.LazyFunction(lambda: [{"type": "email", "address": "ann@example.com"}])


class DeliveryFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = NotificationDelivery

    event = factory.SubFactory(EventFactory)
    template = factory.SubFactory(TemplateFactory)
    action_index = 0
    recipient_type = "email"
    lane = factory.LazyAttribute(lambda row: f"{row.recipient_type} {row.recipient_address[:30]}")
    recipient_address = "ann@example.com"
    rendered_subject = "[warning] Hot bearing: Press 1"
    rendered_message = "Hot bearing on Press 1: 85.5"
    next_attempt_at = datetime(2026, 11, 20, 10, tzinfo=UTC)


class SilenceFactory(factory.django.DjangoModelFactory):
    """In force in 2026, for everybody's devices unless it is given an owner."""

    class Meta:
        model = Silence

    reason = "maintenance"
    starts_at = datetime(2026, 1, 1, tzinfo=UTC)
    ends_at = datetime(2027, 1, 1, tzinfo=UTC)
