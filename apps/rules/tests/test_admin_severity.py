"""Rising severities and the versions of rules as code, in the admin."""

from datetime import UTC, datetime

import pytest

from apps.devices.tests.factories import MetricFactory
from apps.rules.models import Rule, RuleVersion

RULES, VERSIONS = "/admin/rules/rule/", "/admin/rules/ruleversion/"

# unfold 0.110 overrides an admin method whose signature Django 6.1 extended
pytestmark = pytest.mark.filterwarnings("ignore:Overriding get_action_choices")


@pytest.fixture
def page(client, admin):
    client.force_login(admin)
    return client


@pytest.fixture
def form(device) -> dict:
    return {
        "name": "Hot bearing",
        "device": str(device.pk),
        "metric": MetricFactory().pk,
        "severity": "warning",
        "severity_after": '[{"after": "30m", "severity": "critical"}]',
        "condition": '{"type": "threshold", "operator": "gt", "threshold": 80}',
        "action_config": "",
        "cooldown_minutes": 15,
    }


def test_rising_severity_is_saved(page, form):
    page.post(f"{RULES}add/", form)

    assert Rule.objects.get().severity_after == [{"after": "30m", "severity": "critical"}]


def test_no_rising_severity_is_an_empty_list(page, form):
    page.post(f"{RULES}add/", form | {"severity_after": ""})

    assert (Rule.objects.get().severity_after, Rule.objects.get().action_config) == ([], [])


def test_severity_that_does_not_rise_is_refused(page, form):
    response = page.post(f"{RULES}add/", form | {"severity": "critical"})

    assert "it only rises" in response.content.decode()
    assert not Rule.objects.exists()


def test_versions_are_shown_and_not_changed(page):
    at = datetime(2026, 11, 20, 10, tzinfo=UTC)
    version = RuleVersion.objects.create(
        applied_at=at, applied_by="ci", owners=["alex"], document="a: 1", digest="f00d"
    )

    assert "ci" in page.get(VERSIONS).content.decode()
    assert page.get(f"{VERSIONS}{version.pk}/change/").status_code == 200
    assert page.get(f"{VERSIONS}add/").status_code == 403
    assert page.post(f"{VERSIONS}{version.pk}/delete/", {"post": "yes"}).status_code == 403
