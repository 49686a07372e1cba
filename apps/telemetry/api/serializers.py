from django.core import signing
from rest_framework import serializers

CURSOR_SALT = "telemetry.cursor"


class ReadingSerializer(serializers.Serializer):
    """A stored reading. `value` is a number, true or false, or a text, after the metric's data type."""

    device = serializers.UUIDField(source="device_metric.device_id")
    metric = serializers.CharField(source="device_metric.metric.name")
    timestamp = serializers.DateTimeField()
    value = serializers.JSONField()
    quality = serializers.FloatField()
    received_at = serializers.DateTimeField()


class ReadingPageSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ReadingSerializer(many=True)


class SeriesQuerySerializer(serializers.Serializer):
    """`start` ≤ t < `end`."""

    device = serializers.CharField(required=False, help_text="Id or serial number.")
    metric = serializers.CharField(required=False)
    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)
    limit = serializers.IntegerField(min_value=1, max_value=10_000, default=100)
    cursor = serializers.CharField(required=False, help_text="From `next`.")

    def validate_cursor(self, value):
        """The time and series after which the page begins."""
        try:
            ts, series_id = signing.loads(value, salt=CURSOR_SALT)
        except signing.BadSignature:
            raise serializers.ValidationError("This cursor is not one of ours.") from None
        return serializers.DateTimeField().to_internal_value(ts), series_id

    def validate(self, attrs):
        if attrs.get("start") and attrs.get("end") and attrs["start"] >= attrs["end"]:
            raise serializers.ValidationError({"end": "Must be after start."})
        return attrs


class LatestQuerySerializer(serializers.Serializer):
    device = serializers.ListField(
        child=serializers.CharField(), max_length=1000, default=list, help_text="Ids or serial numbers; all, if none."
    )
    metric = serializers.ListField(child=serializers.CharField(), max_length=100, default=list)


class MessageSerializer(serializers.Serializer):
    """What a device sends; for the schema only, ingest has its own decoder."""

    version = serializers.CharField(required=False)
    serial_number = serializers.CharField(required=False, help_text="May be left out with a device's key.")
    timestamp = serializers.DateTimeField(
        required=False, help_text="ISO 8601 with an offset, or epoch milliseconds; server time if left out."
    )
    metrics = serializers.DictField(
        child=serializers.JSONField(), help_text="Values by metric: numbers, booleans, texts."
    )
    quality = serializers.FloatField(required=False, min_value=0, max_value=1)


class RejectionSerializer(serializers.Serializer):
    index = serializers.IntegerField()
    metric = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class ReceiptSerializer(serializers.Serializer):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    updated = serializers.IntegerField()
    rejected_count = serializers.IntegerField()
    rejected = RejectionSerializer(many=True)


def cursor_after(reading) -> str:
    return signing.dumps([reading.timestamp.isoformat(), reading.device_metric.pk], salt=CURSOR_SALT)
