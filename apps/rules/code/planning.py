"""What has to be done for the rules of the database to be those of a document."""

from dataclasses import dataclass, field
from typing import Any

from apps.rules.code import form, resolving
from apps.rules.code.documents import Document
from apps.rules.code.form import Templates
from apps.rules.models import Rule
from apps.users.models import User

# What a document says of a rule; the rest (id, times) is the database's own.
WRITTEN = (
    "code_key",
    "owner",
    "name",
    "description",
    "device",
    "device_type",
    "metric",
    "severity",
    "severity_after",
    "condition",
    "schedule",
    "action_config",
    "cooldown_minutes",
    "is_enabled",
)
RELATED = ("owner", "device__owner", "device_type", "metric")


@dataclass(frozen=True, slots=True)
class Step:
    """`before` and `after` are forms of the rule; `rule` is to be saved, or deleted if there is no `after`."""

    rule: Rule
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    taken_over: bool = False  # it was made by hand, and becomes the document's


@dataclass(slots=True)
class Plan:
    owners: list[str | None]
    steps: list[Step] = field(default_factory=list)
    unchanged: int = 0
    unmentioned: list[Rule] = field(default_factory=list)  # rules as code that stay although the document has them not

    def count(self, *, before: bool, after: bool) -> int:
        return sum((step.before is not None) is before and (step.after is not None) is after for step in self.steps)


def plan(document: Document, *, templates: Templates, prune: bool) -> Plan:
    """Raises DocumentError with all that is wrong with the document."""
    wanted = resolving.rules_of(document, templates)
    owners = _owners(document, [rule for _, rule in wanted])
    present = {owner.pk if owner else None: _by_key(owner) for owner in owners}
    made = Plan(owners=[owner.username if owner else None for owner in owners])
    for entry, rule in wanted:
        stored = present[rule.owner_id].pop(entry.key, None)
        _add(made, stored, rule, templates)
    left = [rule for rules in present.values() for rule in rules.values() if rule.code_key]
    if prune:
        made.steps += [Step(rule, rule.code_key, form.form_of(rule, templates), None) for rule in left]
    else:
        made.unmentioned = left
    return made


def _owners(document: Document, rules: list[Rule]) -> list[User | None]:
    """Whose rules the document speaks of: only these are ever deleted."""
    owners = {rule.owner_id: rule.owner for rule in rules}
    if document.owner is not None:
        owner = User.objects.get(username=document.owner)
        owners[owner.pk] = owner
    return [owners[pk] for pk in sorted(owners, key=lambda pk: (pk is not None, pk))]


def _by_key(owner: User | None) -> dict[str, Rule]:
    rules = Rule.objects.filter(owner=owner).select_related(*RELATED).order_by("created_at", "pk")
    return {key: rule for rule, key in form.keys_of(rules).items()}


def _add(made: Plan, stored: Rule | None, wanted: Rule, templates: Templates) -> None:
    after = form.form_of(wanted, templates)
    if stored is None:
        made.steps.append(Step(wanted, wanted.code_key, None, after))
        return
    before = form.form_of(stored, templates)
    taken_over = not stored.code_key
    if not taken_over and same(before, after):
        made.unchanged += 1
        return
    for name in WRITTEN:
        setattr(stored, name, getattr(wanted, name))
    made.steps.append(Step(stored, wanted.code_key, before, after, taken_over))


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same kind: true is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
