"""Who sends: a device's or gateway's key, or a person's access token."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from apps.devices.models import DeviceKey
from apps.telemetry.ingest.errors import Unauthorized

MAX_CACHED = 50_000


@dataclass(frozen=True, slots=True)
class Credential:
    """What its bearer may write for: one device, all of an owner's, or (an administrator) every device."""

    owner_id: int | None
    device_id: UUID | None = None
    serial_number: str | None = None
    key_id: int | None = None
    expires_at: float = float("inf")


class Credentials:
    """Credentials by token, cached. A token that nobody knows is cached too, as None."""

    def __init__(self):
        self._known: dict[str, Credential | None] = {}
        self._generation = 0

    def cached(self, token: str) -> bool:
        return token in self._known

    def get(self, token: str, *, now: float) -> Credential:
        """From the cache. Raises Unauthorized."""
        return self._check(self._known[token], now)

    def load(self, token: str, *, now: float) -> Credential:
        """From the database. Raises Unauthorized."""
        generation = self._generation
        found = _find_key(token, now) if token.startswith(DeviceKey.PREFIX) else _find_person(token)
        if generation == self._generation:
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[token] = found
        return self._check(found, now)

    def drop(self) -> None:
        self._generation += 1
        self._known.clear()

    @staticmethod
    def _check(credential: Credential | None, now: float) -> Credential:
        if credential is None or credential.expires_at <= now:
            raise Unauthorized("The key is unknown, expired or revoked.")
        return credential


def _find_key(token: str, now: float) -> Credential | None:
    at = datetime.fromtimestamp(now, UTC)
    usable = DeviceKey.objects.usable(now=at).select_related("device")
    key = usable.filter(digest=DeviceKey.digest_of(token)).first()
    if key is None:
        return None
    expires_at = key.expires_at.timestamp() if key.expires_at else float("inf")
    if key.scope == DeviceKey.Scope.OWNER:
        return Credential(key.owner_id, key_id=key.pk, expires_at=expires_at)
    return Credential(key.owner_id, key.device_id, key.device.serial_number, key_id=key.pk, expires_at=expires_at)


def _find_person(token: str) -> Credential | None:
    authentication = JWTAuthentication()
    try:
        validated = authentication.get_validated_token(token.encode())
        user = authentication.get_user(validated)
    except (InvalidToken, AuthenticationFailed):
        return None
    return Credential(None if user.is_admin else user.pk, expires_at=float(validated["exp"]))
