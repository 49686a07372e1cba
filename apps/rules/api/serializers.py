from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.devices.models import Device, Metric
from apps.events.masking import masked
from apps.rules import conditions
from apps.rules.models import Rule, RuleState


@extend_schema_field(str)
class MetricNameField(serializers.SlugRelatedField):
    """A metric by its name, whatever its case."""

    default_error_messages = {"does_not_exist": "There is no metric {value!r}."}

    def __init__(self, **kwargs):
        super().__init__(slug_field="name__iexact", queryset=Metric.objects.all(), **kwargs)

    def to_representation(self, metric):
        return metric.name


class RuleSerializer(serializers.ModelSerializer):
    """A rule. `operator` and `threshold` at the top are a shorthand for a threshold condition."""

    device = serializers.PrimaryKeyRelatedField(queryset=Device.objects.none(), required=False, allow_null=True)
    metric = MetricNameField()
    condition = serializers.JSONField(
        required=False,
        help_text='Such as {"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m"}.',
    )
    operator = serializers.ChoiceField(list(conditions.OPERATORS), write_only=True, required=False)
    threshold = serializers.JSONField(write_only=True, required=False)
    warnings = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        default=list,
        help_text="After saving: what will not work as it is, such as an action on a machine that does not exist.",
    )

    class Meta:
        model = Rule
        fields = [
            "id",
            "name",
            "description",
            "device",
            "device_type",
            "metric",
            "severity",
            "condition",
            "operator",
            "threshold",
            "action_config",
            "cooldown_minutes",
            "is_enabled",
            "warnings",
            "last_triggered_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "last_triggered_at", "created_at", "updated_at"]

    def get_fields(self):
        fields = super().get_fields()
        user = getattr(self.context.get("request"), "user", None)
        if user is not None and user.is_authenticated:
            fields["device"].queryset = Device.objects.visible_to(user)
        return fields

    def validate_action_config(self, actions):
        if not isinstance(actions, list):
            raise serializers.ValidationError("A list of actions is needed.")
        for action in actions:
            if not isinstance(action, dict) or not isinstance(action.get("type"), str):
                raise serializers.ValidationError("An action is an object with a type.")
            if masked(action) != action:
                raise serializers.ValidationError("Secrets belong into a notification template, not into a rule.")
        return actions

    def validate(self, attrs):
        self._one_subject(attrs)
        if "operator" in attrs or "threshold" in attrs:
            if "condition" in attrs:
                raise serializers.ValidationError({"condition": "Give a condition or its shorthand, not both."})
            shorthand = {"operator": attrs.pop("operator", None), "threshold": attrs.pop("threshold", None)}
            attrs["condition"] = {"type": "threshold"} | shorthand
        if self.instance is None and "condition" not in attrs:
            raise serializers.ValidationError({"condition": "This field is required."}, code="required")
        self._check_condition(attrs)
        return attrs

    def _one_subject(self, attrs) -> None:
        device, device_type = (
            attrs.get(name, getattr(self.instance, name, None)) for name in ("device", "device_type")
        )
        if (device is None) == (device_type is None):
            raise serializers.ValidationError({"device": "A rule is for one device or for one device_type."})

    def _check_condition(self, attrs) -> None:
        """Parsed as it will be judged, against the metric that it will judge."""
        document = attrs.get("condition", getattr(self.instance, "condition", None))
        metric = attrs.get("metric", getattr(self.instance, "metric", None))
        try:
            condition = conditions.parse(document)
            conditions.check_data_type(condition, metric.data_type)
        except conditions.ConditionError as error:
            fault = serializers.ValidationError(str(error), code=error.code)
            nested = {error.field: fault.detail} if error.field else fault.detail
            raise serializers.ValidationError({"condition": nested}) from None


class RuleStateSerializer(serializers.ModelSerializer):
    """Where the rule stands with one series."""

    device = serializers.UUIDField(source="device_metric.device_id")
    metric = serializers.CharField(source="device_metric.metric.name")
    last_value = serializers.JSONField(allow_null=True)

    class Meta:
        model = RuleState
        fields = ["device", "metric", "state", "since", "last_value", "last_ts", "last_opened"]
