"""`telemetry.apply_retention` drops what is older than it is kept, chunk by chunk."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.devices.tests.factories import DeviceMetricFactory
from apps.telemetry.models import Reading
from apps.telemetry.tasks import apply_retention
from apps.telemetry.timescale.edition import Edition, read_edition

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def apache_edition(db):
    if read_edition(connection) is not Edition.APACHE:
        pytest.skip("On this edition the database's own policy drops old chunks.")


@pytest.fixture
def ages():
    """`ages()`: how many days old the readings are that are left."""
    series = DeviceMetricFactory()
    now = timezone.now()
    Reading.objects.bulk_create(
        Reading(device_metric=series, ts=now - timedelta(days=days), value_numeric=days)
        for days in (0, 200, 364, 400, 800)
    )
    return lambda: [int(value) for value in Reading.objects.order_by("-ts").values_list("value_numeric", flat=True)]


def test_chunks_past_their_retention_are_dropped(ages):
    apply_retention()
    assert ages() == [0, 200, 364]


def test_a_second_run_finds_nothing_to_drop(ages):
    apply_retention()
    apply_retention()
    assert ages() == [0, 200, 364]


def test_retention_is_a_setting(ages, settings):
    settings.TELEMETRY = settings.TELEMETRY | {"RETENTION": "100 days"}
    apply_retention()
    assert ages() == [0]


def test_empty_retention_keeps_everything(ages, settings):
    settings.TELEMETRY = settings.TELEMETRY | {"RETENTION": ""}
    apply_retention()
    assert ages() == [0, 200, 364, 400, 800]
