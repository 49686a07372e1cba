"""Ways to reach somebody. A channel is one module and one line here.

It has `ADDRESS`, the key of a recipient that holds the address; `OPTIONS`, further keys that it knows;
`check(recipient)`, which raises ValueError with a sentence for whoever wrote the recipient; `lane(recipient)`,
the place that its messages queue for; and `send(message)`, which returns when the message is handed over (with
the receiver's status, if there is one) and raises `DeliveryFailed` otherwise.
"""

from apps.notifications.channels import chat, email, sms, webhook
from apps.notifications.channels.base import DeliveryFailed, Message

__all__ = ["CHANNELS", "DeliveryFailed", "Message", "send"]

CHANNELS = {
    "email": email,
    "webhook": webhook,
    "sms": sms,
    "chat": chat,
}


def send(channel: str, message: Message) -> int | None:
    if channel not in CHANNELS:
        raise DeliveryFailed(f"This hub has no channel {channel!r}.", permanent=True)
    return CHANNELS[channel].send(message)
