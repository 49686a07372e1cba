import pytest

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.rules.models import Rule
from apps.rules.tests.factories import RuleFactory

pytestmark = pytest.mark.django_db

URL = "/api/v1/rules/"


@pytest.fixture
def temperature():
    return MetricFactory(name="temperature")


@pytest.fixture
def document(device, temperature) -> dict:
    """The contract's example."""
    return {
        "name": "Hot bearing",
        "device": str(device.pk),
        "metric": "temperature",
        "severity": "critical",
        "condition": {"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m", "clear_threshold": 75},
        "action_config": [{"type": "stop_machine", "machine_id": "M-123"}],
        "cooldown_minutes": 15,
        "is_enabled": True,
    }


def errors(answer) -> dict[str, str]:
    assert answer.status_code == 400, answer.json()
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


def test_owner_writes_a_rule_for_an_own_device(api, alex, document):
    answer = api(alex).post(URL, document)

    assert answer.status_code == 201, answer.json()
    assert {name: answer.json()[name] for name in document} == document
    assert Rule.objects.get().owner == alex


def test_shorthand_is_stored_as_a_threshold_condition(api, alex, document):
    del document["condition"]
    answer = api(alex).post(URL, document | {"operator": "gt", "threshold": 80})

    assert answer.json()["condition"] == {"type": "threshold", "operator": "gt", "threshold": 80}


def test_new_rule_watches_the_series_it_judges(api, alex, document, device, temperature):
    series = DeviceMetricFactory(device=device, metric=temperature)
    api(alex).post(URL, document)

    series.refresh_from_db()
    assert series.is_watched


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"metric": "humidity"}, "metric", "does_not_exist"),
        ({"device": "00000000-0000-0000-0000-000000000000"}, "device", "does_not_exist"),
        ({"device": None}, "device", "invalid"),
        ({"severity": "loud"}, "severity", "invalid_choice"),
        ({"condition": None}, "condition", "null"),
        ({"condition": "hot"}, "condition", "invalid"),
        (
            {"condition": {"type": "threshold", "operator": "over", "threshold": 8}},
            "condition.operator",
            "unknown_operator",
        ),
        (
            {"condition": {"type": "threshold", "operator": "eq", "threshold": "x"}},
            "condition.threshold",
            "type_mismatch",
        ),
        ({"operator": "gt", "threshold": 80}, "condition", "invalid"),
        ({"action_config": {"type": "notification"}}, "action_config", "invalid"),
        ({"action_config": ["mail me"]}, "action_config", "invalid"),
        ({"cooldown_minutes": -1}, "cooldown_minutes", "min_value"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(api, alex, document, change, field, code):
    assert errors(api(alex).post(URL, document | change)) == {field: code}


def test_device_of_another_owner_does_not_exist(api, alex, jordan, document):
    document["device"] = str(DeviceFactory(owner=jordan).pk)

    assert errors(api(alex).post(URL, document)) == {"device": "does_not_exist"}


def test_rule_of_another_owner_does_not_exist(api, jordan, device):
    rule = RuleFactory(device=device)

    assert api(jordan).get(URL).json()["results"] == []
    for method in ("get", "patch", "delete"):
        assert getattr(api(jordan), method)(f"{URL}{rule.pk}/").status_code == 404
    assert api(jordan).get(f"{URL}{rule.pk}/state/").status_code == 404


def test_rule_for_a_type_belongs_to_the_client_who_wrote_it(api, alex, document, device):
    del document["device"]
    answer = api(alex).post(URL, document | {"device_type": str(device.device_type_id)})

    assert answer.status_code == 201
    assert Rule.objects.get().owner == alex


def test_rule_of_an_administrator_for_a_type_is_everybodys(api, admin, document, device):
    del document["device"]
    api(admin).post(URL, document | {"device_type": str(device.device_type_id)})

    assert Rule.objects.get().owner is None


def test_rule_is_changed_and_deleted(api, alex, document):
    url = f"{URL}{api(alex).post(URL, document).json()['id']}/"

    assert api(alex).patch(url, {"is_enabled": False}).json()["is_enabled"] is False
    assert api(alex).delete(url).status_code == 204
    assert not Rule.objects.exists()


def test_list_takes_the_same_number_of_queries_however_many_rules(
    api, alex, device, temperature, django_assert_max_num_queries
):
    for _ in range(10):
        RuleFactory(device=device, metric=temperature)

    with django_assert_max_num_queries(1):
        assert len(api(alex).get(URL).json()["results"]) == 10
