from rest_framework import serializers


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


class StoredMessageSerializer(serializers.Serializer):
    version = serializers.CharField()
    serial_number = serializers.CharField()
    timestamp = serializers.DateTimeField()
    metrics = serializers.DictField(child=serializers.JSONField())
    quality = serializers.FloatField(required=False, help_text="Of its worst reading; left out if that is 1.")


class StoredMessagePageSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = StoredMessageSerializer(many=True)


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
