"""What every path of the API keeps, walked from its own schema: so a new path is held to it at once."""

import json
import re
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from apps.devices.tests.factories import DeviceFactory, DeviceKeyFactory, DeviceMetricFactory
from apps.events.tests.factories import EventFactory
from apps.notifications.tests.factories import DeliveryFactory, SilenceFactory, TemplateFactory
from apps.rules.tests.factories import RuleFactory

METHODS = ("get", "post", "put", "patch", "delete")
DOCUMENT = Path(__file__).parent.parent / "docs" / "openapi.yml"
V1 = "/api/v1/"

# Whose is what has an id in its path? A new path has to be put here.
SHARED = ("locations", "metrics", "device-types", "users")
OWNED = ("devices", "rules", "events", "notification-templates", "notification-deliveries", "silences")
BY_KEY = ("device",)  # no person at all; apps/devices/tests/test_device_side_api.py
OPEN = {f"{V1}auth/token/", f"{V1}auth/token/refresh/"}
# Answers as InfluxDB does, failures included; apps/telemetry/tests/test_ingest_line_protocol.py holds it to that.
FOREIGN = {"/api/v2/write"}


def _operations() -> list[tuple[str, str, dict]]:
    """(method, path, description) of everything that the API offers."""
    schema = SchemaGenerator().get_schema(public=True)
    return [
        (method, path, about)
        for path, methods in schema["paths"].items()
        for method, about in methods.items()
        if method in METHODS
    ]


OPERATIONS = _operations()
PROTECTED = [(method, path, about) for method, path, about in OPERATIONS if path not in OPEN | FOREIGN]
OF_SOMEBODY = [(method, path) for method, path, _ in OPERATIONS if "{" in path and path.split("/")[3] in OWNED]
LISTS = [
    path
    for method, path, about in OPERATIONS
    if method == "get" and about["operationId"].endswith("_list") and "{" not in path
]


def call(client: APIClient, method: str, path: str, ids: dict):
    filled = re.sub(r"{(\w+)}", lambda match: str(ids[match[1]]), path)
    return getattr(client, method)(filled, None if method == "get" else {})


def any_ids(about: dict) -> dict:
    uuid = "00000000-0000-0000-0000-000000000000"
    parameters = [parameter for parameter in about.get("parameters", []) if parameter["in"] == "path"]
    return {item["name"]: uuid if item["schema"].get("format") == "uuid" else 1 for item in parameters}


def ids_of_something(kind: str, owner) -> dict:
    """What fills the paths of this kind, all of it the owner's."""
    device = DeviceFactory(owner=owner)
    if kind == "devices":
        return {
            "id": device.pk,
            "device_id": device.pk,
            "binding_id": DeviceMetricFactory(device=device).pk,
            "key_id": DeviceKeyFactory(device=device).pk,
        }
    rows = {
        "rules": lambda: RuleFactory(device=device),
        "events": lambda: EventFactory(device=device),
        "notification-templates": lambda: TemplateFactory(owner=owner),
        "silences": lambda: SilenceFactory(owner=owner),
        "notification-deliveries": lambda: DeliveryFactory(event=EventFactory(device=device)),
    }
    return {"id": rows[kind]().pk}


@pytest.mark.parametrize(("method", "path", "about"), PROTECTED, ids=lambda value: str(value)[:80])
def test_stranger_is_asked_to_log_in(db, method, path, about):
    answer = call(APIClient(), method, path, any_ids(about))
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith(("Bearer", "Token"))
    problem = json.loads(answer.content)
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["status"] == 401


@pytest.mark.parametrize(("method", "path"), OF_SOMEBODY)
def test_what_is_of_another_owner_does_not_exist(api, alex, jordan, method, path):
    ids = ids_of_something(path.split("/")[3], alex)
    answer = call(api(jordan), method, path, ids)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert call(api(alex), method, path, ids).status_code != 404


def test_every_path_with_an_id_is_known_to_be_shared_or_owned():
    kinds = {path.split("/")[3] for _, path, _ in OPERATIONS if "{" in path}
    assert kinds <= {*SHARED, *OWNED, *BY_KEY}


@pytest.mark.parametrize("path", LISTS)
def test_lists_come_in_pages(api, admin, path):
    answer = api(admin).get(path)
    assert answer.status_code == 200
    assert set(answer.json()) == {"next", "previous", "results"}


def test_document_is_the_schema(tmp_path):
    """`manage.py spectacular --file docs/openapi.yml` when this fails; a warning fails it too."""
    now = tmp_path / "openapi.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(now))
    assert yaml.safe_load(now.read_text()) == yaml.safe_load(DOCUMENT.read_text())
