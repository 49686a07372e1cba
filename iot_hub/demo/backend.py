"""Demo accounts have public passwords: they work only where demo data is switched on."""

from django.conf import settings
from django.contrib.auth.backends import ModelBackend

from iot_hub.demo.people import PEOPLE

_DEMO_USERNAMES = frozenset(person.username for person in PEOPLE)


def may_log_in(user) -> bool:
    """Whether sessions and tokens of this user count."""
    if user is None or not user.is_active:
        return False
    return settings.ENABLE_SEED_DATA or user.username not in _DEMO_USERNAMES


class Backend(ModelBackend):
    def user_can_authenticate(self, user) -> bool:
        return may_log_in(user)
