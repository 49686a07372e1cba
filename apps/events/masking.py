"""Secrets inside stored actions, such as a webhook's signing key, stay in the house."""

from typing import Any

MASK = "••••••••"
SECRET_KEYS = frozenset({"secret", "previous_secret"})


def masked(value: Any) -> Any:
    """A copy of some JSON with every secret in it replaced by a mask, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if key in SECRET_KEYS and item else masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value
