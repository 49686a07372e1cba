import math
from datetime import timedelta

from django.contrib.auth import get_user_model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.devices.models import Device


class FiniteFloatField(serializers.FloatField):
    """JSON has no infinity, and a limit that is not a number limits nothing."""

    default_error_messages = {"not_finite": "A finite number is required."}

    def to_internal_value(self, data) -> float:
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("not_finite")
        return value


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]+[smhd]?$"}]})
class DurationField(serializers.Field):
    """Seconds, or a number with a unit: 90, "90", "30m", "24h", "7d"."""

    default_error_messages = {
        "invalid": "Give seconds, or a number with a unit such as 30m, 24h or 7d.",
        "out_of_range": "At most {longest}.",
    }
    UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

    def __init__(self, *, longest: timedelta, **kwargs):
        super().__init__(**kwargs)
        self.longest = longest

    def to_internal_value(self, data) -> timedelta:
        if isinstance(data, bool) or not isinstance(data, (int, str)):
            self.fail("invalid")
        number, unit = (data[:-1], data[-1:]) if isinstance(data, str) and data[-1:] in self.UNITS else (data, "s")
        if isinstance(number, str) and not (number.isascii() and number.isdecimal()):
            self.fail("invalid")
        return self._within(int(number), self.UNITS[unit])

    def _within(self, number: int, unit: str) -> timedelta:
        if number < 0:
            self.fail("invalid")
        if number > self.longest / timedelta(**{unit: 1}):
            self.fail("out_of_range", longest=self.longest)
        return timedelta(**{unit: number})

    def to_representation(self, value: timedelta) -> int:
        return int(value.total_seconds())


class LimitField(serializers.IntegerField):
    """What only an admin may set and its owner may see."""

    default_error_messages = {"admins_only": "Only an admin can set limits."}

    def __init__(self, **kwargs):
        super().__init__(min_value=0, max_value=2**31 - 1, allow_null=True, required=False, **kwargs)

    def run_validation(self, data=serializers.empty):
        if data is not serializers.empty and not self.context["request"].user.is_admin:
            self.fail("admins_only")
        return super().run_validation(data)


class OwnerField(serializers.PrimaryKeyRelatedField):
    """Admins give a device to anybody; for a client there is nobody else, whether that account exists or not."""

    default_error_messages = {"not_yours_to_give": "Only an admin can set another owner."}

    def get_queryset(self):
        user, users = self.context["request"].user, get_user_model().objects
        return users.all() if user.is_admin else users.filter(pk=user.pk)

    def fail(self, key: str, **kwargs):
        is_client = not self.context["request"].user.is_admin
        super().fail("not_yours_to_give" if key == "does_not_exist" and is_client else key, **kwargs)


class VisibleDeviceField(serializers.PrimaryKeyRelatedField):
    """A device that the requester may see; any other one does not exist."""

    def get_queryset(self):
        return Device.objects.visible_to(self.context["request"].user)
