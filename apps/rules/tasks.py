import logging
import time

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from apps.rules import evaluation, services, silence

logger = logging.getLogger(__name__)

NUDGED = "rules:nudged"
NUDGE_TIMEOUT = 5
# From the beginning of a pass to that of the next: what comes in meanwhile is judged together, which costs far less.
PASS_SECONDS = 0.1


@shared_task(name="rules.evaluate_pending")
def evaluate_pending(**_):
    """Empty the outbox of watched readings. Safe to run twice and at once; beat repeats it anyway."""
    while _look():
        pass


def _look() -> bool:
    """One pass, and the pause after it; False where there was nothing to judge."""
    # From here on a new nudge counts: what is stored after this line may not be seen below.
    cache.delete(NUDGED)
    began = time.monotonic()
    judged = evaluation.evaluate_once(now=timezone.now())
    if judged:
        cache.add(NUDGED, 1, timeout=NUDGE_TIMEOUT)  # nobody else need be woken meanwhile: we look again
        time.sleep(max(0.0, began + PASS_SECONDS - time.monotonic()))
    return bool(judged)


@shared_task(name="rules.check_silence")
def check_silence(**_):
    """Opens events where nothing came in for too long. Safe to run twice and at once; beat repeats it."""
    silence.check(now=timezone.now())
    evaluation.evaluate_once(now=timezone.now())  # what came in while it held a shard's lock


@shared_task(name="rules.forget_changes")
def forget_changes(**_):
    """Safe to repeat; the next hour's run makes up for a lost one."""
    services.forget_changes(now=timezone.now())


@shared_task(name="rules.settle")
def settle(**_):
    """For devices that changed their type or owner past the services (psql), or whose change was not followed by its
    process any more. Safe to repeat; beat does.
    """
    services.settle(now=timezone.now())


def nudge() -> None:
    """Ask a worker to judge. One request is enough for many commits, and none is needed: beat sweeps."""
    try:
        if cache.add(NUDGED, 1, timeout=NUDGE_TIMEOUT):
            evaluate_pending.apply_async(expires=60)
    except Exception as error:  # Redis or the broker is away
        logger.warning("Rules could not be nudged, the sweeper will judge: %s", error)
