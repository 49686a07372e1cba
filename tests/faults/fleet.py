"""The devices that keep sending while their hub is being killed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.faults.feeds import Feed
from tests.faults.hub import Chief, Hub
from tests.faults.ledger import Ledger
from tests.faults.plans import Plan, in_arrays, one_by_one, overwriting, repeating
from tests.faults.senders import Sender

# Serial number: metrics, plan, seconds between two bodies.
FLEET: dict[str, tuple[list[str], Plan, float]] = {
    "SINGLE-1": (["load", "drift"], one_by_one, 0.005),
    "SINGLE-2": (["load"], one_by_one, 0.005),
    "MIXED-1": (["load", "is_on", "note"], in_arrays(1, 30), 0.03),
    "SMALL-1": (["load", "drift"], in_arrays(2, 200), 0.03),
    "LARGE-1": (["load"], in_arrays(2_000, 50_000), 2),
    "REPEAT-1": (["load", "drift"], repeating, 0.05),
    "OVERWRITE-1": (["load", "drift"], overwriting, 0.05),
    "TWINS-1": (["load"], in_arrays(1, 50), 0.02),
    "QUITTER-1": (["load", "drift"], in_arrays(1, 50), 0.02),
    "WATCHED-1": (["level", "load"], one_by_one, 0.01),
    "WATCHED-2": (["level"], in_arrays(1, 20), 0.05),
    "WATCHED-3": (["level"], in_arrays(1, 5), 0.02),
}
EVERYBODY_HAS_A_RECEIPT_IN = 90


@contextmanager
def sending(feeds: list[Feed], ledger: Ledger, hub: Hub, seed: int) -> Iterator[None]:
    senders = [sender for feed in feeds for sender in senders_of(feed, ledger, hub, seed)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()
        until = time.monotonic() + EVERYBODY_HAS_A_RECEIPT_IN
        for sender in senders:
            sender.finish(until)
        ledger.close()


def senders_of(feed: Feed, ledger: Ledger, hub: Hub, seed: int) -> list[Sender]:
    """Twins are two that send the same bodies at about the same time."""
    name = feed.serial_number
    _, plan, pace = FLEET[name]
    return [
        Sender(feed, plan, ledger, hub.port, Random(f"{seed} {name}"), pace=pace, gives_up=name.startswith("QUITTER"))
        for _ in range(2 if name.startswith("TWINS") else 1)
    ]


def fleet(chief: Chief) -> list[Feed]:
    feeds = []
    for salt, (serial_number, (metrics, _, _)) in enumerate(FLEET.items()):
        device, key = chief.add_device(serial_number)
        feeds.append(Feed(serial_number, metrics, salt, device, key))
    return feeds
