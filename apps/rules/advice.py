"""What the author of a rule should know at once, though the rule may be saved: its machine may still come."""

from apps.devices import queries as device_queries
from apps.rules.models import Rule


def warnings_about(rule: Rule) -> list[str]:
    """A sentence for each action that would fail if the rule fired now."""
    machines = [str(action["machine_id"]) for action in rule.action_config if "machine_id" in action]
    return [
        f"There is no machine {machine!r}; this action will fail." for machine in machines if not _has(rule, machine)
    ]


def _has(rule: Rule, machine_id: str) -> bool:
    machines = device_queries.devices_named(machine_id)
    return (machines.filter(owner=rule.owner_id) if rule.owner_id else machines).exists()
