"""The metrics of a device."""

import pytest

from apps.devices import services
from apps.devices.models import DeviceMetric, Metric
from apps.devices.signals import device_deleting, metrics_bound
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory


@pytest.fixture
def path(device):
    return f"/api/v1/devices/{device.pk}/metrics/"


@pytest.fixture
def bound():
    """What `metrics_bound` has told."""
    told = []

    def listener(device_metric_ids, **kwargs):
        told.append(device_metric_ids)

    metrics_bound.connect(listener)
    yield told
    metrics_bound.disconnect(listener)


def test_owner_binds_a_metric_by_name_in_whatever_case(api, alex, path, bound):
    MetricFactory(name="Vibration", data_type="numeric")
    answer = api(alex).post(path, {"metric": "VIBRATION", "unit": "mm/s", "min_value": 0, "max_value": 12.5})
    assert answer.status_code == 201
    binding = answer.json()
    assert binding == {
        "id": binding["id"],
        "metric": "Vibration",
        "unit": "mm/s",
        "min_value": 0,
        "max_value": 12.5,
    }
    assert bound == [[binding["id"]]]
    assert api(alex).get(path).json()["results"] == [binding]


def test_metric_that_is_new_is_created_with_its_type(api, alex, path):
    api(alex).post(path, {"metric": "door_open", "data_type": "boolean"})
    api(alex).post(path, {"metric": "heat"})
    assert Metric.objects.get(name="door_open").data_type == "boolean"
    assert Metric.objects.get(name="heat").data_type == "numeric"


def test_type_of_a_metric_that_exists_wins(api, alex, path):
    MetricFactory(name="state", data_type="str")
    assert api(alex).post(path, {"metric": "state", "data_type": "numeric"}).status_code == 201
    assert Metric.objects.get().data_type == "str"


def test_unknown_metric_is_refused_where_metrics_are_not_registered_at_first_sight(api, alex, path, settings, error_of):
    settings.TELEMETRY = settings.TELEMETRY | {"AUTO_REGISTER": False}
    assert error_of(api(alex).post(path, {"metric": "heat"})) == ("metric", "unknown_metric")
    assert not Metric.objects.exists()


def test_metric_is_bound_once(api, alex, device, path, error_of):
    DeviceMetricFactory(device=device, metric__name="heat", unit="K")
    assert error_of(api(alex).post(path, {"metric": "Heat", "unit": "°C"})) == ("metric", "unique")
    assert device.metrics.get().unit == "K"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"min_value": 5, "max_value": 1}, "min_value"),
        ({"min_value": "nan"}, "min_value"),
        ({"max_value": "inf"}, "max_value"),
    ],
)
def test_limits_have_to_make_sense(api, alex, path, limits, field):
    answer = api(alex).post(path, {"metric": "heat"} | limits)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert not DeviceMetric.objects.exists()


def test_owner_changes_unit_and_limits_and_not_the_metric(api, alex, device, path):
    binding = DeviceMetricFactory(device=device, metric__name="heat")
    DeviceMetric.objects.update(is_watched=True)
    answer = api(alex).patch(f"{path}{binding.pk}/", {"unit": "K", "max_value": 400, "metric": "cold"})
    assert (answer.json()["unit"], answer.json()["max_value"]) == ("K", 400)
    assert answer.json()["metric"] == "heat"
    binding.refresh_from_db()
    assert binding.is_watched


def test_unbinding_tells_which_series_goes(api, alex, device, path):
    binding = DeviceMetricFactory(device=device)
    told = []

    def listener(device_metric_ids, **kwargs):
        told.append(device_metric_ids)

    device_deleting.connect(listener)
    try:
        assert api(alex).delete(f"{path}{binding.pk}/").status_code == 204
    finally:
        device_deleting.disconnect(listener)
    assert told == [[binding.pk]]
    assert not device.metrics.exists()


def test_bindings_of_another_owner_do_not_exist(api, jordan, device, path):
    binding = DeviceMetricFactory(device=device)
    mine = DeviceFactory(owner=jordan)
    client = api(jordan)
    assert client.get(path).status_code == 404
    assert client.post(path, {}).status_code == 404
    for device_id in (device.pk, mine.pk):
        one = f"/api/v1/devices/{device_id}/metrics/{binding.pk}/"
        assert client.patch(one, {"unit": "K"}).status_code == 404
        assert client.delete(one).status_code == 404
    assert DeviceMetric.objects.filter(pk=binding.pk).exists()


def test_list_takes_two_queries(api, alex, device, path, django_assert_num_queries):
    DeviceMetricFactory.create_batch(3, device=device)
    with django_assert_num_queries(2):
        assert len(api(alex).get(path).json()["results"]) == 3


def test_bindings_come_back_in_the_order_of_the_names(device, bound):
    old = DeviceMetricFactory(device=device, metric__name="heat")
    pairs = [("noise", "numeric"), ("HEAT", "str"), ("Noise", "str"), ("door", "boolean")]
    bindings = services.bind_metrics(device=device, metrics=pairs)
    assert [binding.metric.name for binding in bindings] == ["noise", "heat", "noise", "door"]
    assert bindings[1] == old
    assert bindings[1].metric.data_type == "numeric"
    assert bound == [sorted({bindings[0].pk, bindings[3].pk})]


def test_binding_what_is_bound_takes_three_queries_and_tells_nobody(device, bound, django_assert_num_queries):
    services.bind_metrics(device=device, metrics=[("heat", "numeric"), ("noise", "numeric")])
    bound.clear()
    with django_assert_num_queries(5):  # with the savepoint around them
        services.bind_metrics(device=device, metrics=[("Heat", "numeric"), ("noise", "numeric")])
    assert bound == []


def test_metrics_bound_by_two_connections_at_once_are_the_same_rows(at_once):
    device = DeviceFactory()
    names = [f"metric_{number}" for number in range(20)]
    forwards = [(name, "numeric") for name in names]
    backwards = [(name.upper(), "numeric") for name in reversed(names)]
    one, two, three = at_once(
        lambda: services.bind_metrics(device=device, metrics=forwards),
        lambda: services.bind_metrics(device=device, metrics=backwards),
        lambda: services.bind_metrics(device=device, metrics=forwards),
    )
    assert one == three == list(reversed(two))
    assert DeviceMetric.objects.count() == Metric.objects.count() == 20


def test_series_bound_by_two_connections_at_once_is_told_of_once(at_once, bound):
    device = DeviceFactory()
    results = at_once(*[lambda: services.bind_metrics(device=device, metrics=[("heat", "numeric")])] * 4)
    assert len({binding.pk for [binding] in results}) == 1
    assert bound == [[results[0][0].pk]]
