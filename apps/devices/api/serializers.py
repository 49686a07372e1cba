from django.contrib.auth import get_user_model
from rest_framework import serializers

from apps.devices.api.fields import (
    DurationField,
    FiniteFloatField,
    LimitField,
    OwnerField,
    VisibleDeviceField,
)
from apps.devices.models import (
    Device,
    DeviceCommand,
    DeviceKey,
    DeviceMetric,
    DeviceType,
    Location,
    Metric,
)
from apps.devices.services import COMMAND_LIFETIME, COMMAND_LIFETIME_MAX, KEY_OVERLAP, KEY_OVERLAP_MAX


class LocationSerializer(serializers.ModelSerializer):
    latitude = FiniteFloatField(min_value=-90, max_value=90, allow_null=True, required=False)
    longitude = FiniteFloatField(min_value=-180, max_value=180, allow_null=True, required=False)

    class Meta:
        model = Location
        fields = [
            "id",
            "name",
            "description",
            "parent",
            "latitude",
            "longitude",
            "created_at",
            "updated_at",
        ]
        # The constraint judges; DRF's own check would make `parent` obligatory.
        validators = []


class MetricSerializer(serializers.ModelSerializer):
    class Meta:
        model = Metric
        fields = ["id", "name", "data_type", "unit", "description"]

    def validate_data_type(self, data_type: str) -> str:
        metric = self.instance
        if metric and metric.data_type != data_type and metric.bindings.exists():
            raise serializers.ValidationError("Devices have this metric already, so its type is settled.")
        return data_type


class DeviceTypeSerializer(serializers.ModelSerializer):
    class Meta:
        model = DeviceType
        fields = [
            "id",
            "name",
            "description",
            "metric_name",
            "metric_unit",
            "metric_min",
            "metric_max",
            "raw_retention",
            "created_at",
        ]


class DeviceSerializer(serializers.ModelSerializer):
    owner = OwnerField(
        queryset=get_user_model().objects.all(), required=False, help_text="The requester, unless an admin says."
    )
    parent = VisibleDeviceField(
        queryset=Device.objects.all(),
        required=False,
        allow_null=True,
        help_text=Device._meta.get_field("parent").help_text,
    )
    metadata = serializers.DictField(required=False)

    class Meta:
        model = Device
        fields = [
            "id",
            "serial_number",
            "name",
            "description",
            "device_type",
            "owner",
            "location",
            "parent",
            "status",
            "last_seen",
            "clock_skew_ms",
            "metadata",
            "created_at",
            "updated_at",
        ]


class BindingSerializer(serializers.ModelSerializer):
    metric = serializers.CharField(source="metric.name", read_only=True)
    min_value = FiniteFloatField(required=False, allow_null=True)
    max_value = FiniteFloatField(required=False, allow_null=True)

    class Meta:
        model = DeviceMetric
        fields = ["id", "metric", "unit", "min_value", "max_value"]
        validators = []


class NewBindingSerializer(BindingSerializer):
    metric = serializers.CharField(max_length=100, help_text="The metric's name, in whatever case.")
    data_type = serializers.ChoiceField(
        Metric.DataType.choices,
        default=Metric.DataType.NUMERIC,
        write_only=True,
        help_text="Of a metric that is new; the type of an existing one stays.",
    )

    class Meta(BindingSerializer.Meta):
        fields = [*BindingSerializer.Meta.fields, "data_type"]


class KeySerializer(serializers.ModelSerializer):
    messages_per_minute = LimitField(help_text="null: as the hub is set up; 0: no limit. Admins set it.")
    readings_per_minute = LimitField(help_text="null: as the hub is set up; 0: no limit. Admins set it.")

    class Meta:
        model = DeviceKey
        fields = [
            "id",
            "name",
            "scope",
            "prefix",
            "messages_per_minute",
            "readings_per_minute",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "created_at",
        ]


class KeyChangeSerializer(KeySerializer):
    class Meta(KeySerializer.Meta):
        read_only_fields = ["scope", "expires_at"]


class RotationSerializer(serializers.Serializer):
    overlap = DurationField(
        longest=KEY_OVERLAP_MAX,
        default=KEY_OVERLAP,
        help_text="How long the old key goes on working: seconds, or a text such as 30m, 24h, 7d. A day if left out.",
    )
    expires_at = serializers.DateTimeField(default=None, allow_null=True, help_text="The end of the new key.")


class IssuedKeySerializer(KeySerializer):
    key = serializers.CharField(read_only=True, help_text="The secret. It is shown this once.")

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "key"]


class CommandSerializer(serializers.ModelSerializer):
    params = serializers.DictField(required=False)
    expires_in = serializers.IntegerField(
        min_value=1,
        max_value=COMMAND_LIFETIME_MAX,
        default=COMMAND_LIFETIME,
        write_only=True,
        help_text="Seconds after which the command is no longer delivered.",
    )

    class Meta:
        model = DeviceCommand
        fields = [
            "id",
            "name",
            "params",
            "expires_in",
            "status",
            "result",
            "created_at",
            "expires_at",
            "delivered_at",
            "finished_at",
        ]
        read_only_fields = ["status", "result", "expires_at", "delivered_at", "finished_at"]
