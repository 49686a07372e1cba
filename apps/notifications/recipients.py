"""Recipients as people write them, and as they are stored.

Text such as "a@example.com" stands for `{"type": "email", "address": "a@example.com"}`, and
"https://example.com/hook" for `{"type": "webhook", "url": "https://example.com/hook"}`.
"""

from typing import Any

from apps.events.masking import MASK, SECRET_KEYS
from apps.notifications import hours
from apps.notifications.channels import CHANNELS
from apps.users import zones

MAX_RECIPIENTS = 100


class InvalidRecipients(ValueError):
    """`errors` has a sentence for each entry that is wrong, by its place in the list."""

    def __init__(self, errors: dict[int, str]):
        super().__init__("; ".join(f"recipient {index + 1}: {text}" for index, text in errors.items()))
        self.errors = errors


def normalise(entries: Any) -> list[dict]:
    """The entries in their stored form. Raises `InvalidRecipients` naming every one that is wrong."""
    good, errors = sort_out(entries)
    if errors:
        raise InvalidRecipients(errors)
    return good


def sort_out(entries: Any) -> tuple[list[dict], dict[int, str]]:
    """The usable entries, each once, and what is wrong with the others."""
    if not isinstance(entries, list):
        return [], {0: "recipients are a list"}
    if len(entries) > MAX_RECIPIENTS:
        return [], {MAX_RECIPIENTS: f"at most {MAX_RECIPIENTS} recipients"}
    good, errors = {}, {}
    for index, entry in enumerate(entries):
        try:
            recipient = _parse(entry)
            good.setdefault((recipient["type"], address_of(recipient)), recipient)
        except ValueError as error:
            errors[index] = str(error)
    return list(good.values()), errors


def address_of(recipient: dict) -> str:
    return recipient[CHANNELS[recipient["type"]].ADDRESS]


def lane_of(recipient: dict) -> str:
    """What a message to this recipient queues for: one that hangs holds up only what is bound for the same place."""
    return CHANNELS[recipient["type"]].lane(recipient)[:255]


def entry_for(kind: str, address: str, entries: list) -> dict:
    """The entry of this recipient, that with a secret first; empty if there is none."""
    key = CHANNELS[kind].ADDRESS if kind in CHANNELS else "address"
    found = [entry for entry in entries if isinstance(entry, dict) and entry.get(key) == address]
    return max(found, key=lambda entry: bool(entry.get("secret")), default={})


def with_kept_secrets(entries: Any, before: list[dict]) -> Any:
    """Entries that come back with the mask that we showed mean: the secret stays as it is."""
    if not isinstance(entries, list):
        return entries
    return [_unmasked(entry, before) for entry in entries]


def _unmasked(entry: Any, before: list[dict]) -> Any:
    if not isinstance(entry, dict):
        return entry
    address = entry.get("url") or entry.get("address")
    kept = next((row for row in before if address in (row.get("url"), row.get("address"))), {})
    masked = {key: kept.get(key) or MASK for key in SECRET_KEYS if entry.get(key) == MASK}
    return entry | masked


def _parse(entry: Any) -> dict:
    recipient = _from_text(entry) if isinstance(entry, str) else entry
    if not isinstance(recipient, dict):
        raise ValueError("a recipient is an email address, a URL, or an object with a type")
    channel = CHANNELS.get(recipient.get("type")) if isinstance(recipient.get("type"), str) else None
    if channel is None:
        raise ValueError(f"unknown type {recipient.get('type')!r}; there are: {', '.join(sorted(CHANNELS))}")
    _check_keys(recipient, channel)
    if MASK in (recipient.get(key) for key in SECRET_KEYS):
        raise ValueError("the secret of a new URL has to be sent again")
    if recipient.get("timezone"):
        zones.check_zone(recipient["timezone"])
    hours.parse(recipient.get("quiet_hours", ""))
    channel.check(recipient)
    return recipient


def _from_text(text: str) -> dict:
    text = text.strip()
    if text.lower().startswith(("http://", "https://")):
        return {"type": "webhook", "url": text}
    return {"type": "email", "address": text}


def _check_keys(recipient: dict, channel) -> None:
    known = {"type", "name", "timezone", "quiet_hours", channel.ADDRESS, *channel.OPTIONS}
    if unknown := set(recipient) - known:
        raise ValueError(f"unknown key {min(unknown)!r}; known are: {', '.join(sorted(known))}")
    if not recipient.get(channel.ADDRESS):
        raise ValueError(f"{channel.ADDRESS!r} is missing")
    for key, value in recipient.items():
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{key!r} must be text")
    if len(recipient.get("name", "")) > 255:
        raise ValueError("'name' is longer than 255 characters")
