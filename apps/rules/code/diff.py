"""A plan as people read it: + is made, ~ is changed, - is deleted."""

from collections.abc import Iterator
from difflib import ndiff
from typing import Any

from apps.rules.code import form
from apps.rules.code.planning import Plan, Step, same
from apps.rules.code.yaml_lines import dump


def lines_of(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        yield from _step(step)
    if plan.unmentioned:
        names = ", ".join(rule.code_key for rule in plan.unmentioned)
        yield f"  Not in the document, and kept (--prune deletes them): {names}"
    yield summary(plan)


def summary(plan: Plan) -> str:
    if not plan.steps:
        return f"No difference: {plan.unchanged} rules are as written."
    made, changed, deleted = (
        plan.count(before=before, after=after) for before, after in ((False, True), (True, True), (True, False))
    )
    return f"{made} to create, {changed} to change, {deleted} to delete, {plan.unchanged} as written."


def _step(step: Step) -> Iterator[str]:
    whose = f" of {step.rule.owner.username}" if step.rule.owner else ""
    if step.before is None:
        yield f"+ {step.key}{whose}"
        yield from _indented("+", form.short_form(step.after))
    elif step.after is None:
        yield f"- {step.key}{whose}: {step.rule.name}"
    else:
        yield f"~ {step.key}{whose}{' (made by hand, now kept here)' if step.taken_over else ''}"
        for name in step.after:
            if not same(step.before[name], step.after[name]):
                yield from _changed(name, step.before[name], step.after[name])


def _changed(name: str, before: Any, after: Any) -> Iterator[str]:
    old, new = (dump({name: value}).splitlines() for value in (before, after))
    for line in ndiff(old, new):
        if line[0] != "?":
            yield f"    {line}"


def _indented(mark: str, value: Any) -> Iterator[str]:
    for line in dump(value).splitlines():
        yield f"    {mark} {line}"
