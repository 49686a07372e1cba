"""Who sends: a device's or gateway's key, or a person's access token."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from apps.devices.models import DeviceKey
from apps.telemetry.ingest.errors import Unauthorized
from apps.telemetry.ingest.limits import Limit, Overrides, limits_of_key, limits_of_person

MAX_CACHED = 50_000
# Tokens that are good for nothing, kept apart: whoever makes them up by the thousand drives out nobody else.
MAX_UNKNOWN = 5_000
MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Credential:
    """What its bearer may write for: one device, all of an owner's, or (an administrator) every device."""

    owner_id: int | None
    device_id: UUID | None = None
    serial_number: str | None = None
    key_id: int | None = None
    expires_at: float = float("inf")
    limits: tuple[Limit, ...] = ()


class Credentials:
    """Credentials by token, cached. A token that nobody knows is cached too."""

    def __init__(self):
        self._known: dict[str, Credential] = {}
        self._unknown: set[str] = set()
        # Grows with every drop: what was read before a drop must not be kept after it.
        self._generation = 0
        self._lock = threading.Lock()

    def get(self, token: str, *, now: float) -> Credential | None:
        """From the cache, or None where the database has to be asked. Raises Unauthorized."""
        credential = self._known.get(token)
        if credential is not None:
            return _checked(credential, now)
        if token in self._unknown or len(token) > MAX_TOKEN:
            raise _unauthorized()
        return None

    def load(self, token: str, *, now: float) -> Credential:
        """From the database. Raises Unauthorized."""
        generation = self._generation
        found = _find_key(token, now) if token.startswith(DeviceKey.PREFIX) else _find_person(token)
        with self._lock:
            if generation == self._generation:
                self._keep(token, found)
        if found is None:
            raise _unauthorized()
        return _checked(found, now)

    def drop(self, device_ids: set[UUID] | None = None) -> None:
        """Forget the keys for these devices, or everything."""
        with self._lock:
            self._generation += 1
            if device_ids is None:
                self._known.clear()
                self._unknown.clear()
            else:
                gone = [token for token, credential in self._known.items() if credential.device_id in device_ids]
                for token in gone:
                    del self._known[token]

    def _keep(self, token: str, found: Credential | None) -> None:
        if found is None:
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown.add(token)
        else:
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[token] = found


def _checked(credential: Credential, now: float) -> Credential:
    if credential.expires_at <= now:
        raise _unauthorized()
    return credential


def _unauthorized() -> Unauthorized:
    return Unauthorized("The key is unknown, expired or revoked.")


def _find_key(token: str, now: float) -> Credential | None:
    at = datetime.fromtimestamp(now, UTC)
    usable = DeviceKey.objects.usable(now=at).select_related("device", "owner")
    key = usable.filter(digest=DeviceKey.digest_of(token)).first()
    if key is None:
        return None
    for_one = key.scope == DeviceKey.Scope.DEVICE
    return Credential(
        owner_id=key.owner_id,
        device_id=key.device_id if for_one else None,
        serial_number=key.device.serial_number if for_one else None,
        key_id=key.pk,
        expires_at=key.expires_at.timestamp() if key.expires_at else float("inf"),
        limits=limits_of_key(key.pk, _overrides(key), key.owner_id, _overrides(key.owner)),
    )


def _find_person(token: str) -> Credential | None:
    authentication = JWTAuthentication()
    try:
        validated = authentication.get_validated_token(token.encode())
        user = authentication.get_user(validated)
    except (InvalidToken, AuthenticationFailed):
        return None
    return Credential(
        owner_id=None if user.is_admin else user.pk,
        expires_at=float(validated["exp"]),
        limits=limits_of_person(user.pk, _overrides(user)),
    )


def _overrides(row) -> Overrides:
    return Overrides(row.messages_per_minute, row.readings_per_minute)
