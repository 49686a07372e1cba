"""The rules of the database as a document, which planned against them shows no difference."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from apps.rules.code import form
from apps.rules.code.form import Templates
from apps.rules.code.planning import RELATED
from apps.rules.code.yaml_lines import dump
from apps.rules.models import Rule
from apps.users.models import User


def export(*, owner: User | None, templates: Templates) -> str:
    """The rules of an owner, or of everybody."""
    rules = Rule.objects.select_related(*RELATED).order_by("owner_id", "created_at", "pk")
    if owner is not None:
        rules = rules.filter(owner=owner)
    document: dict[str, Any] = {"owner": owner.username} if owner else {}
    document["rules"] = list(_entries(rules, templates, named=owner is None))
    return dump(document)


def _entries(rules: Iterable[Rule], templates: Templates, *, named: bool):
    for _, group in groupby(rules, key=lambda rule: rule.owner_id):
        for rule, key in sorted(form.keys_of(group).items(), key=lambda pair: pair[1]):
            owner = {"owner": rule.owner.username} if named and rule.owner else {}
            yield {"key": key} | owner | form.short_form(form.form_of(rule, templates))
