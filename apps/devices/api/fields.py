import math

from django.contrib.auth import get_user_model
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
