import pytest

from apps.rules.models import Rule, RuleState
from apps.rules.tests.factories import RuleFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client, admin):
    admin.is_staff = True
    admin.save()
    client.force_login(admin)
    return client


@pytest.fixture
def form(device):
    rule = RuleFactory(device=device)
    return rule, {
        "name": rule.name,
        "device": device.pk,
        "metric": rule.metric_id,
        "severity": "warning",
        "condition": '{"type": "stuck", "count": 3}',
        "schedule": '{"timezone": "UTC", "hours": [{"start": "08:00", "end": "17:00"}]}',
        "action_config": "[]",
        "cooldown_minutes": 0,
    }


def test_condition_and_schedule_are_saved(page, form):
    rule, fields = form
    answer = page.post(f"/admin/rules/rule/{rule.pk}/change/", fields)

    assert answer.status_code == 302, answer.context["errors"]
    saved = Rule.objects.get()
    assert (saved.condition["type"], saved.schedule["timezone"]) == ("stuck", "UTC")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"condition": '{"type": "stuck"}'}, "count: A whole number"),
        ({"schedule": '{"timezone": "Mars"}'}, "hours: A list of hours"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(page, form, change, told):
    rule, fields = form
    answer = page.post(f"/admin/rules/rule/{rule.pk}/change/", fields | change)

    assert answer.status_code == 200
    assert told in answer.content.decode()


def test_states_are_listed(page, form):
    assert page.get("/admin/rules/rulestate/").status_code == 200
    assert not RuleState.objects.exists()
