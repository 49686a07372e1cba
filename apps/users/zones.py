"""Time zones as people name them."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError


def check_zone(name: str) -> str:
    """Raises ValueError unless this is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone such as Europe/Kyiv") from error
    return name


def validate_zone(name: str) -> None:
    try:
        check_zone(name)
    except ValueError as error:
        raise ValidationError(str(error), code="invalid_timezone") from error
