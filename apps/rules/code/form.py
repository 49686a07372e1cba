"""A rule as a document writes it: names in place of ids, and only what is not as it would be anyway."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Protocol

from apps.rules.code.documents import MAX_KEY
from apps.rules.models import Rule


class Templates(Protocol):
    """Notification templates by their names, for actions. `owner_id` is whose rule asks, None for nobody's."""

    def id_of(self, name: str, owner_id: int | None) -> int | None: ...

    def name_of(self, template_id: int, owner_id: int | None) -> str | None: ...


def form_of(rule: Rule, templates: Templates) -> dict[str, Any]:
    """All fields in a fixed order, key and owner aside."""
    return {
        "name": rule.name,
        "description": rule.description,
        "device": rule.device.serial_number if rule.device else None,
        "device_type": rule.device_type.name if rule.device_type else None,
        "metric": rule.metric.name,
        "severity": str(rule.severity),  # a default is a choice, which YAML does not know
        "severity_after": plain(rule.severity_after),
        "condition": plain(rule.condition),
        "schedule": plain(rule.schedule),
        "action_config": plain([_named(action, rule.owner_id, templates) for action in rule.action_config]),
        "cooldown_minutes": rule.cooldown_minutes,
        "is_enabled": rule.is_enabled,
    }


def short_form(form: dict[str, Any]) -> dict[str, Any]:
    """The form without what goes without saying."""
    defaults = {name: Rule._meta.get_field(name).get_default() for name in form}
    kept = {"name", "metric", "severity", "condition", "cooldown_minutes"}
    return {name: value for name, value in form.items() if name in kept or value not in (defaults[name], None)}


def keys_of(rules: Iterable[Rule]) -> dict[Rule, str]:
    """The keys of all rules of one owner. Who has none gets one from the name, the same every time."""
    rules = list(rules)
    keys = {rule: rule.code_key for rule in rules if rule.code_key}
    taken = set(keys.values())
    for rule in rules:
        if rule not in keys:
            keys[rule] = _free_key(rule.name, taken)
            taken.add(keys[rule])
    return keys


def plain(value: Any) -> Any:
    """JSON as it comes back from the database, where 80.0 and 8e1 are 80."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _named(action: Any, owner_id: int | None, templates: Templates) -> Any:
    if not isinstance(action, dict) or not isinstance(action.get("template_id"), int):
        return action
    name = templates.name_of(action["template_id"], owner_id)
    if name is None:
        return action
    return {
        ("template" if key == "template_id" else key): name if key == "template_id" else value
        for key, value in action.items()
    }


def _free_key(name: str, taken: set[str]) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[: MAX_KEY - 10].rstrip("-") or "rule"
    key, number = stem, 2
    while key in taken:
        key, number = f"{stem}-{number}", number + 1
    return key
