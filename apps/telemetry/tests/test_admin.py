"""The admin's page of the outbox."""

import msgspec
import pytest

from apps.telemetry.models import WatchedBatch


@pytest.fixture
def batch(db):
    payload = msgspec.msgpack.encode([[1, 1, 2], [1, 2, 3], [5.0, 6.0, True]])
    return WatchedBatch.objects.create(shard=3, payload=payload)


def test_an_admin_sees_what_waits(client, admin, batch):
    client.force_login(admin)
    page = client.get("/admin/telemetry/watchedbatch/")
    assert page.status_code == 200
    [row] = page.context["cl"].result_list
    assert row.shard == 3
    assert "3</td>" in page.content.decode()
    assert client.get(f"/admin/telemetry/watchedbatch/{batch.pk}/change/").status_code == 200


def test_nothing_can_be_changed_there(client, admin, batch):
    client.force_login(admin)
    assert client.get("/admin/telemetry/watchedbatch/add/").status_code == 403
    assert client.post(f"/admin/telemetry/watchedbatch/{batch.pk}/delete/").status_code == 403
    assert WatchedBatch.objects.exists()
