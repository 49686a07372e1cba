"""What every channel has in common: the message that it sends, and how it says that it could not."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """One message to one recipient, all plain values: channels know neither rows nor the database.

    `key` is the same at every attempt, so that a receiver can tell a repeat.
    """

    key: str
    delivery: str
    address: str
    subject: str
    text: str
    name: str = ""
    secret: str = field(default="", repr=False)
    previous_secret: str = field(default="", repr=False)
    payload: dict[str, Any] = field(default_factory=dict, repr=False)


class DeliveryFailed(Exception):
    """The message did not get through. `permanent`: trying again would not help.

    `status` is what the receiver answered, an HTTP status or an SMTP reply code; None if it did not.
    """

    def __init__(self, message: str, *, permanent: bool = False, status: int | None = None):
        super().__init__(message)
        self.permanent = permanent
        self.status = status
