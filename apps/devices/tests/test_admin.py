"""The admin pages: everything opens, and writes go through the services."""

import pytest
from django.contrib import admin as django_admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.devices import services
from apps.devices.models import Device, DeviceKey, DeviceMetric
from apps.devices.signals import device_deleting, metrics_bound
from apps.devices.tests.factories import DeviceFactory, DeviceKeyFactory, DeviceMetricFactory, MetricFactory
from apps.users.models import User

# The admin's look is a release behind the admin.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding get_action_choices")

OURS = [
    model._meta
    for model in django_admin.site._registry
    if model.__module__ in ("apps.users.models", "apps.devices.models")
]


@pytest.fixture
def pages(client, admin):
    client.force_login(admin)
    return client


@pytest.fixture
def told():
    """What the signals have told: (signal's name, ids)."""
    heard = []

    def bound(device_metric_ids, **kwargs):
        heard.append(("bound", device_metric_ids))

    def deleting(device_metric_ids, **kwargs):
        heard.append(("deleting", device_metric_ids))

    metrics_bound.connect(bound)
    device_deleting.connect(deleting)
    yield heard
    metrics_bound.disconnect(bound)
    device_deleting.disconnect(deleting)


@pytest.fixture
def series(device):
    device_key = DeviceKeyFactory(device=device)
    services.queue_command(device=device, name="stop", now=timezone.now())
    assert device_key.device == device
    return DeviceMetricFactory(device=device)


def change_page(device) -> str:
    return reverse("admin:devices_device_change", args=[device.pk])


def form_of(device, **changes) -> dict:
    """What the browser sends when the page of a device is saved."""
    form = {
        "name": device.name,
        "serial_number": device.serial_number,
        "device_type": device.device_type_id,
        "status": device.status,
        "owner": device.owner_id,
        "location": "",
        "parent": "",
        "description": "",
        "metadata": "{}",
        "metrics-TOTAL_FORMS": 0,
        "metrics-INITIAL_FORMS": 0,
        "keys-TOTAL_FORMS": 0,
        "keys-INITIAL_FORMS": 0,
    }
    return {key: "" if value is None else value for key, value in (form | changes).items()}


@pytest.mark.parametrize("meta", OURS, ids=lambda meta: meta.label)
def test_every_list_opens_and_can_be_searched(pages, series, meta):
    path = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    assert pages.get(path).status_code == 200
    assert pages.get(f"{path}?q=press").status_code == 200


@pytest.mark.parametrize("meta", OURS, ids=lambda meta: meta.label)
def test_every_row_opens(pages, series, meta):
    row = meta.model.objects.first()
    if row is None:
        return
    path = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    assert pages.get(path).status_code == 200


@pytest.mark.parametrize("name", ["device", "devicemetric", "devicekey", "devicecommand"])
def test_lists_take_as_many_queries_for_many_rows_as_for_one(pages, series, name):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert pages.get(reverse(f"admin:devices_{name}_changelist")).status_code == 200
        return len(captured)

    queries()
    for_one = queries()
    for _ in range(3):
        other = DeviceMetricFactory().device
        DeviceKeyFactory(device=other)
        services.queue_command(device=other, name="stop", now=timezone.now())
    assert queries() == for_one


def test_clients_do_not_get_in(client, alex):
    client.force_login(alex)
    assert client.get("/admin/").status_code == 302


def test_models_without_a_meaning_for_people_have_no_page():
    names = {model._meta.model_name for model in django_admin.site._registry}
    assert not names & {"group", "outstandingtoken", "blacklistedtoken", "catalogchange"}


def test_changing_a_device_leaves_alone_what_ingest_writes(pages, device, monkeypatch):
    page = form_of(device, name="Press 2")
    seen = timezone.now()
    save = services.update_device

    def slow(**kwargs):
        Device.objects.filter(pk=device.pk).update(last_seen=seen)
        return save(**kwargs)

    monkeypatch.setattr(services, "update_device", slow)
    assert pages.post(change_page(device), page).status_code == 302
    device.refresh_from_db()
    assert (device.name, device.last_seen) == ("Press 2", seen)


def test_metadata_is_an_object_here_too(pages, device):
    assert pages.post(change_page(device), form_of(device, metadata="[1]")).status_code == 200
    device.refresh_from_db()
    assert device.metadata == {}


def test_device_that_changes_hands_loses_its_keys_here_too(pages, device, jordan):
    DeviceKeyFactory(device=device)
    assert pages.post(change_page(device), form_of(device, owner=jordan.pk)).status_code == 302
    assert Device.objects.get(pk=device.pk).owner == jordan
    assert not DeviceKey.objects.usable(now=timezone.now()).exists()


def test_metrics_are_bound_changed_and_unbound_on_the_page_of_a_device(pages, device, told):
    metric = MetricFactory()
    page = {"metrics-TOTAL_FORMS": 1, "metrics-0-metric": metric.pk, "metrics-0-unit": "K"}
    assert pages.post(change_page(device), form_of(device, **page)).status_code == 302
    binding = device.metrics.get()
    assert (binding.metric, binding.unit) == (metric, "K")

    page |= {"metrics-INITIAL_FORMS": 1, "metrics-0-id": binding.pk, "metrics-0-unit": "°C"}
    assert pages.post(change_page(device), form_of(device, **page)).status_code == 302
    assert device.metrics.get().unit == "°C"

    page |= {"metrics-0-DELETE": "on"}
    assert pages.post(change_page(device), form_of(device, **page)).status_code == 302
    assert not device.metrics.exists()
    assert told == [("bound", [binding.pk]), ("deleting", [binding.pk])]


def test_device_is_added_with_its_metrics(pages, alex, told):
    other, metric = DeviceFactory(owner=alex), MetricFactory()
    page = form_of(other, serial_number="SN-NEW", name="New")
    page |= {"metrics-TOTAL_FORMS": 1, "metrics-0-metric": metric.pk}
    assert pages.post(reverse("admin:devices_device_add"), page).status_code == 302
    device = Device.objects.get(serial_number="SN-NEW")
    assert told == [("bound", [device.metrics.get().pk])]


@pytest.mark.parametrize("way", ["one", "selected"])
def test_deleting_devices_goes_through_the_service(pages, device, series, told, way):
    if way == "one":
        path, page = reverse("admin:devices_device_delete", args=[device.pk]), {"post": "yes"}
    else:
        path = reverse("admin:devices_device_changelist")
        page = {"action": "delete_selected", "_selected_action": [str(device.pk)], "post": "yes"}
    assert pages.post(path, page).status_code == 302
    assert not Device.objects.exists()
    assert told == [("deleting", [series.pk])]


def test_deleting_a_series_goes_through_the_service(pages, series, told):
    path = reverse("admin:devices_devicemetric_delete", args=[series.pk])
    assert pages.post(path, {"post": "yes"}).status_code == 302
    assert not DeviceMetric.objects.exists()
    assert told == [("deleting", [series.pk])]


def test_admin_issues_a_key_and_sees_its_secret_once(pages, device):
    path = f"{change_page(device).removesuffix('change/')}issue-key/"
    assert not DeviceKey.objects.exists()
    assert pages.get(path).status_code == 200
    assert not DeviceKey.objects.exists()
    sent = {"_form_submitted": "1", "name": "gateway", "scope": "owner", "days": "30"}
    answer = pages.post(path, sent)
    assert answer["HX-Redirect"] == change_page(device)
    key = DeviceKey.objects.get()
    assert (key.name, key.scope, key.owner) == ("gateway", "owner", device.owner)
    assert key.expires_at is not None
    shown = pages.get(change_page(device)).content.decode()
    assert f"<code>{key.prefix}" in shown
    assert f"<code>{key.prefix}" not in pages.get(change_page(device)).content.decode()
    assert "Issued the key" in LogEntry.objects.get().change_message


def test_admin_revokes_keys(pages, device):
    one, two = DeviceKeyFactory(device=device), DeviceKeyFactory(device=device)
    page = reverse("admin:devices_devicekey_change", args=[one.pk]).removesuffix("change/")
    assert pages.get(f"{page}revoke/").status_code == 200
    assert DeviceKey.objects.filter(revoked_at=None).count() == 2
    assert pages.post(f"{page}revoke/", {"_form_submitted": "1"}).status_code == 200
    selected = {"action": "revoke_selected", "_selected_action": [two.pk]}
    assert pages.post(reverse("admin:devices_devicekey_changelist"), selected).status_code == 302
    assert not DeviceKey.objects.filter(revoked_at=None).exists()


def test_keys_and_commands_are_not_edited(pages, series):
    for name in ("devicekey", "devicecommand"):
        assert pages.get(reverse(f"admin:devices_{name}_add")).status_code == 403


def test_admin_adds_a_user_with_a_role(pages):
    page = {
        "username": "casey",
        "email": "casey@example.com",
        "role": "admin",
        "password1": "a-Long-passw0rd",
        "password2": "a-Long-passw0rd",
    }
    assert pages.post(reverse("admin:users_user_add"), page).status_code == 302
    casey = User.objects.get(username="casey")
    assert (casey.role, casey.is_staff, casey.is_superuser) == ("admin", True, True)


def test_email_is_unique_whatever_its_case_here_too(pages, alex):
    page = {"username": "casey", "email": "ALEX@example.com", "role": "client"}
    page |= {"password1": "a-Long-passw0rd", "password2": "a-Long-passw0rd"}
    answer = pages.post(reverse("admin:users_user_add"), page)
    assert "A user with this email already exists." in answer.content.decode()


def test_admin_does_not_delete_or_demote_themselves(pages, admin):
    page = reverse("admin:users_user_change", args=[admin.pk])
    pages.post(page, {"username": "admin", "email": "admin@example.com", "role": "client"})
    admin.refresh_from_db()
    assert (admin.role, admin.is_active) == ("admin", True)
    assert pages.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [admin.pk], "post": "yes"}
    pages.post(reverse("admin:users_user_changelist"), selected)
    assert User.objects.filter(pk=admin.pk).exists()


def test_sidebar_tells_the_story(pages):
    page = pages.get("/admin/").content.decode()
    for title in ("Devices", "Device types", "Locations", "Keys", "Series", "Metrics", "Users"):
        assert title in page
