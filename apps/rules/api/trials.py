"""What backtest and explain are asked, and what they answer."""

from rest_framework import serializers

from apps.devices.models import Device
from apps.rules.api.serializers import RuleSerializer, RuleStateSerializer
from apps.rules.backtest import MAX_LISTED, MAX_RANGE


class RangeSerializer(serializers.Serializer):
    """`start` ≤ t < `end`."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()

    def validate(self, attrs):
        attrs = super().validate(attrs)
        if attrs["end"] <= attrs["start"]:
            raise serializers.ValidationError({"end": "Has to be after start."})
        if attrs["end"] - attrs["start"] > MAX_RANGE:
            raise serializers.ValidationError({"start": f"At most {MAX_RANGE.days} days at once."}, code="too_large")
        return attrs


class DraftRuleSerializer(RangeSerializer, RuleSerializer):
    """A rule that is not saved, and the range to try it on."""

    name = serializers.CharField(max_length=255, default="Draft")

    class Meta(RuleSerializer.Meta):
        fields = ["start", "end", *RuleSerializer.Meta.fields]


class IntervalSerializer(serializers.Serializer):
    device = serializers.UUIDField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(allow_null=True, help_text="Null if it still held at the end of the range.")
    measured = serializers.CharField()


class WouldSendSerializer(serializers.Serializer):
    action = serializers.IntegerField(help_text="Place in action_config.")
    type = serializers.CharField()
    template_id = serializers.IntegerField(allow_null=True)
    times = serializers.IntegerField()
    recipients = serializers.IntegerField(allow_null=True, help_text="Null: those of the template.")
    messages = serializers.IntegerField(allow_null=True)


class EventOutlineSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    device = serializers.UUIDField(source="device_id")
    timestamp = serializers.DateTimeField()
    status = serializers.CharField()
    message = serializers.CharField()


class DifferencesSerializer(serializers.Serializer):
    events = serializers.IntegerField(help_text="Events of the rule that began in the range.")
    missing = IntervalSerializer(many=True, help_text="It would have fired, and no event is there.")
    unexpected = EventOutlineSerializer(many=True, help_text="An event is there, and it would not have fired.")


class BacktestSerializer(serializers.Serializer):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    readings = serializers.IntegerField(help_text="Judged, those before the range included that its beginning needs.")
    openings = serializers.IntegerField(help_text="Events that would have opened in the range.")
    suppressed_by_cooldown = serializers.IntegerField()
    absorbed_by_hysteresis = serializers.IntegerField()
    intervals = IntervalSerializer(many=True, help_text=f"The first {MAX_LISTED}.")
    would_send = WouldSendSerializer(many=True)
    differences = DifferencesSerializer(allow_null=True, help_text="To what happened; null for a rule not yet saved.")


class QuestionSerializer(serializers.Serializer):
    device = serializers.PrimaryKeyRelatedField(
        queryset=Device.objects.none(), required=False, help_text="May be left out where the rule is for one device."
    )
    at = serializers.DateTimeField(required=False, help_text="Now, if left out.")

    def get_fields(self):
        fields = super().get_fields()
        user = getattr(self.context.get("request"), "user", None)
        if user is not None and user.is_authenticated:
            fields["device"].queryset = Device.objects.visible_to(user)
        return fields


class InputSerializer(serializers.Serializer):
    metric = serializers.CharField()
    timestamp = serializers.DateTimeField()
    value = serializers.JSONField()
    received_at = serializers.DateTimeField()
    is_late = serializers.BooleanField(help_text="A newer reading of the series had come in before it.")
    state = serializers.CharField(allow_null=True, help_text="After this reading; null for those after the time.")
    held_by = serializers.CharField(allow_null=True, allow_blank=True)


class WindowSerializer(serializers.Serializer):
    start = serializers.DateTimeField(allow_null=True)
    end = serializers.DateTimeField()
    readings = serializers.IntegerField()
    memory = serializers.JSONField(help_text="What the condition remembered.")
    recomputed_from = serializers.DateTimeField()


class ComputedStateSerializer(serializers.Serializer):
    state = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    held_by = serializers.CharField(allow_blank=True)
    last_value = serializers.JSONField(allow_null=True)
    last_ts = serializers.DateTimeField(allow_null=True)
    last_opened = serializers.DateTimeField(allow_null=True)
    schedule_is_active = serializers.BooleanField()


class ReasonSerializer(serializers.Serializer):
    reason = serializers.CharField(
        help_text="duration, cooldown, schedule, hysteresis, late, disabled, inactive_device, no_readings, "
        "not_concerned"
    )
    message = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)


class ExplainedEventSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    status = serializers.CharField()
    severity = serializers.CharField()
    message = serializers.CharField()
    timestamp = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    metadata = serializers.JSONField()
    execution_results = serializers.JSONField(help_text="What became of each action.")


class ExplanationSerializer(serializers.Serializer):
    rule = serializers.UUIDField()
    device = serializers.UUIDField()
    at = serializers.DateTimeField()
    condition = serializers.CharField()
    inputs = InputSerializer(many=True)
    window = WindowSerializer(allow_null=True)
    state = ComputedStateSerializer(allow_null=True, help_text="At that time, worked out from the readings.")
    stored_state = RuleStateSerializer(allow_null=True, help_text="As the workers have it now.")
    suppressed_by = ReasonSerializer(many=True)
    event = ExplainedEventSerializer(allow_null=True, help_text="The event that was open at that time.")
