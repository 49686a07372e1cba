"""The standing cast of the tests: an admin, alex who owns devices, jordan who owns others."""

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from apps.devices.tests.factories import DeviceFactory
from apps.telemetry.ingest.http import service
from apps.users.tests.factories import UserFactory
from iot_hub.celery import app as celery_app


def pytest_addoption(parser):
    group = parser.getgroup("faults", "tests/test_faults.py, which kills the hub and its stores under load")
    group.addoption("--faults-minutes", type=float, default=0, help="how long; without it some 40 seconds")
    group.addoption("--faults-seed", type=int, help="kill in the order and at the pace of an earlier run")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """The test database is a real TimescaleDB one, hypertable and all."""
    with django_db_blocker.unblock():
        call_command("setup_timescaledb", verbosity=0)
        # Policies of the database would refresh and drop in the midst of a test.
        with connection.cursor() as cursor:
            cursor.execute("SELECT _timescaledb_functions.stop_background_workers()")


@pytest.fixture(scope="session", autouse=True)
def _nudges_stay_here():
    """What a test's own process nudges, nobody hears; tests with real workers start all processes themselves."""
    celery_app.conf.broker_url = "memory://"


@pytest.fixture
def admin(db):
    return UserFactory(username="admin", role="admin")


@pytest.fixture
def alex(db):
    return UserFactory(username="alex")


@pytest.fixture
def jordan(db):
    return UserFactory(username="jordan")


@pytest.fixture
def device(alex):
    """A device of alex's."""
    return DeviceFactory(owner=alex, serial_number="VIB-SN-001", name="Press 1")


@pytest.fixture
def api():
    """`api(alex)` is an HTTP client with alex logged in; `api()` is a stranger."""

    def client_for(user=None) -> APIClient:
        client = APIClient()
        if user is not None:
            client.force_authenticate(user)
        return client

    return client_for


@pytest.fixture
def ingesting(transactional_db):
    """For tests that post readings: the writer commits in a thread and connection of its own."""
    service.forget_everything()
    yield service
    service.writer.close_connections()
    service.forget_everything()
