"""Applying documents and going back to earlier ones. Each is one transaction, and a version is kept of it."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from apps.rules import services as rule_services
from apps.rules.code import documents
from apps.rules.code.form import Templates
from apps.rules.code.planning import Plan, plan
from apps.rules.locks import own_rules
from apps.rules.models import RuleVersion


class NoSuchVersion(Exception):
    """There is nothing to go back to."""


@transaction.atomic
def apply(
    *,
    text: str,
    templates: Templates,
    prune: bool,
    applied_by: str,
    now: datetime,
    on_plan: Callable[[Plan], None],
    note: str = "",
) -> RuleVersion | None:
    """Make the rules those of the document; None if they were. Raises DocumentError, and then nothing is changed.

    `on_plan` is told what will be done before it is done, from the rules as they are with everybody else kept out.
    """
    own_rules()
    made = plan(documents.parse(text), templates=templates, prune=prune)
    on_plan(made)
    if not made.steps:
        return None
    rule_services.replace_rules(
        delete=[step.rule for step in made.steps if step.after is None],
        save=[step.rule for step in made.steps if step.after is not None],
        now=now,
    )
    return RuleVersion.objects.create(
        applied_at=now,
        applied_by=applied_by,
        owners=made.owners,
        note=note,
        document=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def version_before() -> RuleVersion:
    """The one before the latest among those that speak of the same owners. Raises NoSuchVersion."""
    latest = RuleVersion.objects.order_by("-number").first()
    if latest is None:
        raise NoSuchVersion("No version was applied yet.")
    earlier = RuleVersion.objects.filter(owners=latest.owners, number__lt=latest.number).order_by("-number").first()
    if earlier is None:
        raise NoSuchVersion(f"Version {latest.number} is the first for its owners.")
    return earlier


def version(number: int) -> RuleVersion:
    """Raises NoSuchVersion."""
    found = RuleVersion.objects.filter(pk=number).first()
    if found is None:
        raise NoSuchVersion(f"There is no version {number}.")
    return found
