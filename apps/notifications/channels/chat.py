"""Chat services (Slack, Teams, Telegram, ntfy, …) through apprise.

`address` is what people call the place, such as "#operations"; the service's URL holds its password, so it is
the `secret`, which is never shown again.
"""

from apps.notifications.channels import apprise_hosts
from apps.notifications.channels.base import DeliveryFailed, Message

ADDRESS = "address"
OPTIONS = frozenset({"secret"})
MAX_ADDRESS = 255


def check(recipient: dict) -> None:
    if len(recipient[ADDRESS]) > MAX_ADDRESS or "://" in recipient[ADDRESS]:
        raise ValueError("the address is a name for people, such as #operations; the service's URL is the secret")
    if not recipient.get("secret"):
        raise ValueError("the secret is missing: the service's URL, such as slack://TokenA/TokenB/TokenC")
    apprise_hosts.check(recipient["secret"])


def lane(recipient: dict) -> str:
    scheme, _, rest = recipient.get("secret", "").partition("://")
    own_host = rest.partition("/")[0] if scheme in apprise_hosts.OWN_HOST else ""
    return f"chat {scheme} {own_host}".strip()


def send(message: Message) -> None:
    if not message.secret:
        raise DeliveryFailed("The template no longer says how to reach this address.", permanent=True)
    try:
        apprise_hosts.check(message.secret)
    except ValueError as error:  # the operator has allowed it once, and does not any more
        raise DeliveryFailed(f"Not sent: {error}.", permanent=True) from error
    apprise_hosts.send(message.secret, subject=message.subject, text=message.text)
