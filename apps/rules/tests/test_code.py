"""Rules as code: plan, apply, export, versions."""

import pytest
from django.core.management import CommandError, call_command

from apps.devices.models import Metric
from apps.devices.tests.factories import DeviceFactory, MetricFactory
from apps.notifications.tests.factories import TemplateFactory
from apps.rules.models import Rule, RuleVersion
from apps.rules.tests.factories import RuleFactory

DOCUMENT = """\
owner: alex
rules:
  - key: hot-bearing
    name: Hot bearing
    device: VIB-SN-001
    metric: Temperature
    severity: warning
    severity_after: [{after: 30m, severity: critical}]
    condition: {type: threshold, operator: gt, threshold: 80.0, for: 5m, clear_threshold: 75}
    action_config:
      - {type: notification, template: On call}
    cooldown_minutes: 5
  - key: cold
    name: Cold
    device_type: %s
    metric: temperature
    condition: {type: threshold, operator: lt, threshold: 2}
"""


@pytest.fixture
def template(device):
    return TemplateFactory(name="On call")


@pytest.fixture
def document(device, template):
    MetricFactory(name="temperature")
    return DOCUMENT % device.device_type.name


@pytest.fixture
def rules(tmp_path, capsys):
    """`rules("plan", document)` answers (exit code, what was printed or complained of)."""
    file = tmp_path / "rules.yml"

    def call(verb: str, text: str | None = None, *options: str) -> tuple[int, str]:
        arguments = []
        if text is not None:
            file.write_text(text)
            arguments = [str(file)]
        try:
            call_command("rules", verb, *arguments, *options)
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        except CommandError as error:
            return 1, str(error).replace(str(file), "rules.yml")
        return 0, capsys.readouterr().out

    return call


def test_plan_shows_what_is_missing_and_changes_nothing(rules, document):
    code, out = rules("plan", document)

    assert code == 2
    assert "+ hot-bearing of alex" in out
    assert "+ name: Hot bearing" in out
    assert "2 to create, 0 to change, 0 to delete, 0 as written." in out
    assert not Rule.objects.exists()
    assert not RuleVersion.objects.exists()


def test_apply_makes_the_rules_and_then_there_is_no_difference(rules, document, alex, device, template):
    code, out = rules("apply", document, "--by", "ci")

    assert (code, "Applied as version" in out) == (0, True), out
    hot, cold = Rule.objects.order_by("-code_key")
    assert (hot.owner, hot.device, hot.device_type) == (alex, device, None)
    assert (cold.owner, cold.device, cold.device_type) == (alex, None, device.device_type)
    assert hot.action_config == [{"type": "notification", "template_id": template.pk}]
    assert RuleVersion.objects.get().applied_by == "ci"
    assert rules("plan", document) == (0, "No difference: 2 rules are as written.\n")
    assert "Nothing was changed." in rules("apply", document)[1]
    assert RuleVersion.objects.count() == 1


def test_a_rename_is_a_change_of_the_same_rule(rules, document):
    rules("apply", document)
    before = Rule.objects.get(code_key="cold").pk
    code, out = rules("plan", document.replace("name: Cold", "name: Freezing"))

    assert code == 2
    assert "~ cold of alex\n    - name: Cold\n    + name: Freezing\n0 to create, 1 to change" in out
    rules("apply", document.replace("name: Cold", "name: Freezing"))
    assert Rule.objects.get(code_key="cold").pk == before
    assert Rule.objects.get(code_key="cold").name == "Freezing"


def test_what_was_edited_by_hand_shows(rules, document):
    rules("apply", document)
    Rule.objects.filter(code_key="hot-bearing").update(cooldown_minutes=60)

    assert "- cooldown_minutes: 60\n    + cooldown_minutes: 5" in rules("plan", document)[1]


def test_rules_that_the_document_has_not_are_deleted_on_request_only(rules, document, alex, jordan, device):
    metric = Metric.objects.get()
    by_hand = RuleFactory(device=device, name="By hand", metric=metric)
    foreign = RuleFactory(device=DeviceFactory(owner=jordan), code_key="cold", metric=metric)
    rules("apply", document)
    less = document[: document.index("  - key: cold")]

    code, out = rules("plan", less)
    assert (code, "(--prune deletes them): cold" in out) == (0, True)
    code, out = rules("apply", less, "--prune")
    assert "- cold of alex: Cold" in out
    assert set(Rule.objects.filter(owner=alex).values_list("code_key", flat=True)) == {"hot-bearing", ""}
    assert Rule.objects.filter(pk__in=[by_hand.pk, foreign.pk]).count() == 2


def test_export_is_a_document_without_difference(rules, document, alex, device, jordan):
    rules("apply", document)
    RuleFactory(device=device, name="Ü: by hand!", metric=Rule.objects.first().metric)
    RuleFactory(device=DeviceFactory(owner=jordan, serial_number="0042"), metric=Rule.objects.first().metric)
    for options in ([], ["--owner", "alex"]):
        exported = rules("export", None, *options)[1]

        assert "template: On call" in exported
        assert "key: u-by-hand" in exported
        code, out = rules("plan", exported)
        assert (code, out.count("~ "), out.count("(made by hand, now kept here)")) == (
            2,
            2 - len(options) // 2,
            2 - len(options) // 2,
        )
        assert "to create, " in out
        assert out.splitlines()[-1].startswith("0 to create")


def test_rule_made_by_hand_is_taken_over(rules, document, device):
    by_hand = RuleFactory(device=device, name="Hot bearing", metric__name="temperature2")
    rules("apply", document)

    by_hand.refresh_from_db()
    assert (by_hand.code_key, by_hand.metric.name) == ("hot-bearing", "temperature")


def test_shared_rules_have_no_owner(rules, document, device):
    shared = document.replace("owner: alex\n", "").replace(
        "    device: VIB-SN-001\n", f"    device_type: {device.device_type.name}\n"
    )
    rules("apply", shared)

    assert set(Rule.objects.values_list("owner", flat=True)) == {None}
    assert rules("plan", shared)[0] == 0


def test_all_problems_are_told_at_once_with_their_lines(rules, document):
    wrong = document.replace("VIB-SN-001", "VIB-SN-999").replace("threshold: 2}", 'threshold: "2"}')
    wrong = wrong.replace("severity: warning", "severity: loud") + "    sevrity: info\n"
    assert rules("plan", wrong) == (1, "rules.yml:18: sevrity: Unknown field of a rule.")
    code, out = rules("plan", wrong.replace("    sevrity: info\n", ""))

    assert code == 1
    assert out.splitlines() == [
        "rules.yml:5: device: There is no device 'VIB-SN-999' of alex.",
        "rules.yml:17: condition.operator: Texts and booleans compare with eq or neq only.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("owner: alex", "owner: nobody", "1: owner: There is no user 'nobody'."),
        ("metric: Temperature", "metric: humidity", "6: metric: There is no metric 'humidity'."),
        ("critical}", "info}", "8: severity_after.0.severity: Must be more severe than warning: it only rises."),
        ("template: On call", "template: Nobody", "11: action_config.0.template: There is no template 'Nobody'"),
        ("cooldown_minutes: 5", "cooldown_minutes: soon", "12: cooldown_minutes: A valid integer is required."),
        ("key: cold", "key: hot-bearing", "13: key: hot-bearing is there already, on line 3."),
        ("key: cold", "key: So Cold", "13: key: Small letters and digits"),
        ("severity: warning", "name: Twice", "7: This is not YAML: 'name' is there twice."),
        ("    name: Cold", "    name: [Cold", "15: This is not YAML"),
    ],
)
def test_each_problem_is_told_at_its_line(rules, document, old, new, complaint):
    code, out = rules("apply", document.replace(old, new))

    assert code == 1
    assert out.startswith(f"rules.yml:{complaint}"), out
    assert not Rule.objects.exists()


def test_device_of_another_owner_is_not_there(rules, document, device, jordan):
    device.owner = jordan
    device.save()

    assert "There is no device 'VIB-SN-001' of alex." in rules("plan", document)[1]


def test_rollback_brings_the_version_before_back(rules, document):
    rules("apply", document)
    rules(
        "apply", document.replace("name: Cold", "name: Freezing").replace("key: hot-bearing", "key: hotter"), "--prune"
    )
    code, out = rules("rollback")

    assert code == 0
    assert "- hotter of alex" in out
    assert dict(Rule.objects.values_list("code_key", "name")) == {"hot-bearing": "Hot bearing", "cold": "Cold"}
    first, second, third = RuleVersion.objects.order_by("number")
    assert third.note == f"back to version {first.number}"
    assert (third.document, third.digest) == (first.document, first.digest)
    rules("rollback", None, str(second.number))
    assert Rule.objects.get(code_key="cold").name == "Freezing"
    history = rules("history")[1].splitlines()
    assert len(history) == 4
    assert history[0].endswith(f"alex, back to version {second.number}")


def test_rollback_keeps_to_the_owners_of_the_latest_version(rules, document, jordan):
    rules("apply", "owner: jordan\nrules: []\n")
    device = DeviceFactory(owner=jordan, serial_number="J-1")
    one = document.replace("owner: alex", "owner: jordan").replace("VIB-SN-001", device.serial_number)
    rules("apply", document)
    rules("apply", one)

    assert rules("rollback")[1].endswith("is the first for its owners.")
    assert rules("rollback", None, "0") == (1, "There is no version 0.")


def test_rules_as_code_change_all_or_nothing(rules, document, monkeypatch):
    def fail(**_):
        raise RuntimeError

    monkeypatch.setattr("apps.rules.code.services.RuleVersion.objects.create", fail)
    with pytest.raises(RuntimeError):
        rules("apply", document)

    assert not Rule.objects.exists()


def test_the_api_shows_the_key_and_does_not_take_it(rules, document, api, alex):
    rules("apply", document)
    rule = Rule.objects.get(code_key="cold")
    client = api(alex)

    assert client.patch(f"/api/v1/rules/{rule.pk}/", {"code_key": "warm"}).json()["code_key"] == "cold"


def test_rule_of_a_device_that_changed_hands_is_no_longer_kept_as_code(rules, document, device, jordan, api, admin):
    rules("apply", document)
    device.owner = jordan
    device.save()
    rule = Rule.objects.get(code_key="hot-bearing")
    api(admin).patch(f"/api/v1/rules/{rule.pk}/", {"cooldown_minutes": 7})

    rule.refresh_from_db()
    assert (rule.owner, rule.code_key) == (jordan, "")
