from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.events.masking import masked
from apps.events.models import Event, EventComment


@extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": True}})
class ResultsField(serializers.JSONField):
    """One entry per action of the rule, with what became of it; secrets are masked."""

    def to_representation(self, value):
        return masked(super().to_representation(value))


@extend_schema_field({"type": "object", "additionalProperties": True})
class MetadataField(serializers.JSONField):
    pass


class EventSerializer(serializers.ModelSerializer):
    rule_name = serializers.SerializerMethodField(help_text="Kept when the rule itself is deleted.")
    device_name = serializers.CharField(source="device.name")
    serial_number = serializers.CharField(source="device.serial_number")
    metric = serializers.CharField(source="device_metric.metric.name", default=None, allow_null=True)
    acknowledged_by_name = serializers.CharField(source="acknowledged_by.username", default=None, allow_null=True)
    resolved_by_name = serializers.CharField(source="resolved_by.username", default=None, allow_null=True)
    execution_results = ResultsField()
    metadata = MetadataField()

    class Meta:
        model = Event
        fields = [
            "id",
            "rule",
            "rule_name",
            "device",
            "device_name",
            "serial_number",
            "device_metric",
            "metric",
            "reading_ts",
            "timestamp",
            "severity",
            "severity_rises_at",
            "message",
            "status",
            "execution_results",
            "metadata",
            "acknowledged_at",
            "acknowledged_by",
            "acknowledged_by_name",
            "resolved_at",
            "resolved_by",
            "resolved_by_name",
            "created_at",
        ]
        read_only_fields = fields

    def get_rule_name(self, event: Event) -> str:
        return event.rule_name


class CommentSerializer(serializers.ModelSerializer):
    author_name = serializers.CharField(source="author.username", default=None, allow_null=True, read_only=True)
    body = serializers.CharField(max_length=10_000)

    class Meta:
        model = EventComment
        fields = ["id", "author", "author_name", "body", "created_at"]
        read_only_fields = ["author", "created_at"]


class BulkSerializer(serializers.Serializer):
    """Which events; what the filters of the query string leave out is not touched either."""

    ids = serializers.ListField(child=serializers.IntegerField(), required=False, min_length=1, max_length=1000)


class RefusalSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    code = serializers.ChoiceField(["not_found", "resolved"])


class OutcomeSerializer(serializers.Serializer):
    """`not_possible` has the first 100 of `not_possible_count`; what was as wanted before counts as `unchanged`."""

    done = serializers.IntegerField(help_text="Events that this call changed.")
    unchanged = serializers.IntegerField()
    not_possible_count = serializers.IntegerField()
    not_possible = RefusalSerializer(many=True)


def _counts_of(choices) -> type[serializers.Serializer]:
    names = {name: serializers.IntegerField() for name in choices.values}
    return type(f"{choices.__name__}CountsSerializer", (serializers.Serializer,), names)


StatusCountsSerializer, SeverityCountsSerializer = _counts_of(Event.Status), _counts_of(Event.Severity)


class CountsSerializer(serializers.Serializer):
    total = serializers.IntegerField()
    open = serializers.IntegerField(help_text="Not resolved.")
    status = StatusCountsSerializer()
    severity = SeverityCountsSerializer()
    open_severity = SeverityCountsSerializer()
