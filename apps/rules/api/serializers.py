from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.devices.models import Device, Metric
from apps.events.masking import masked
from apps.rules import conditions, escalation, schedule, validation
from apps.rules.conditions import ConditionError
from apps.rules.models import Rule, RuleState

CONDITION_HELP = (
    'Such as {"type": "threshold", "operator": "gt", "threshold": 80, "for": "5m"}. Types: '
    "threshold, range, rate_of_change, no_data, aggregate, stuck, and all or any of these over several metrics."
)
SCHEDULE_HELP = (
    'Active hours, such as {"timezone": "Europe/Vienna", "hours": [{"weekdays": ["mon"], "start": "08:00", '
    '"end": "17:00"}]}. Outside of them no event opens. Null: always active.'
)
SEVERITY_HELP = (
    'How the severity of an open event rises, such as [{"after": "30m", "severity": "critical"}]; each step comes '
    "later and is more severe than the one before."
)


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
    metric = MetricNameField(
        required=False, help_text="With several metrics one of them, the first unless given; else it is required."
    )
    condition = serializers.JSONField(
        required=False,
        help_text=CONDITION_HELP,
    )
    severity_after = serializers.JSONField(required=False, help_text=SEVERITY_HELP)
    schedule = serializers.JSONField(required=False, allow_null=True, help_text=SCHEDULE_HELP)
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
            "code_key",
            "name",
            "description",
            "device",
            "device_type",
            "metric",
            "severity",
            "severity_after",
            "condition",
            "schedule",
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
        read_only_fields = ["id", "code_key", "last_triggered_at", "created_at", "updated_at"]

    def get_fields(self):
        fields = super().get_fields()
        user = self.context.get("user") or getattr(self.context.get("request"), "user", None)
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
        self._check_severity(attrs)
        return attrs

    def _check_severity(self, attrs) -> None:
        severity, steps = (
            attrs.get(name, getattr(self.instance, name, default))
            for name, default in (("severity", Rule._meta.get_field("severity").default), ("severity_after", []))
        )
        try:
            escalation.parse(steps, severity=severity)
        except ConditionError as error:
            raise _at_field("severity_after", error) from None

    def _one_subject(self, attrs) -> None:
        device, device_type = (
            attrs.get(name, getattr(self.instance, name, None)) for name in ("device", "device_type")
        )
        if (device is None) == (device_type is None):
            raise serializers.ValidationError({"device": "A rule is for one device or for one device_type."})

    def _check_condition(self, attrs) -> None:
        """As it will be judged, against the metric that it will judge. What is not touched is not asked again."""
        if self.instance is not None and not {"condition", "metric"} & attrs.keys():
            return
        document = attrs.get("condition", getattr(self.instance, "condition", None))
        metric = attrs.get("metric", getattr(self.instance, "metric", None))
        try:
            if metric is None:
                metric = attrs["metric"] = self._own_metric(document)
            validation.check_condition(document=document, metric=metric)
        except ConditionError as error:
            raise _at_field("condition", error) from None
        except validation.MetricError as error:
            raise serializers.ValidationError({"metric": str(error)}) from None

    def _own_metric(self, document):
        metric = validation.own_metric(document)
        if metric is None:
            if document["type"] in ("all", "any"):  # then its first metric is unknown, and the fault is told there
                validation.check_condition(document=document, metric=None)
            raise serializers.ValidationError({"metric": "This field is required."}, code="required")
        return metric

    def validate_schedule(self, document):
        try:
            schedule.parse(document)
        except ConditionError as error:
            fault = serializers.ValidationError(str(error), code=error.code)
            raise serializers.ValidationError(_nested(error.field, fault.detail)) from None
        return document


def _at_field(field: str, error: ConditionError) -> serializers.ValidationError:
    fault = serializers.ValidationError(str(error), code=error.code)
    return serializers.ValidationError({field: _nested(error.field, fault.detail)})


def _nested(path: str, detail):
    """`conditions.1.metric` as REST framework nests it."""
    for part in reversed(path.split(".") if path else []):
        detail = {part: detail}
    return detail


class RuleStateSerializer(serializers.ModelSerializer):
    """Where the rule stands with one series; counts run since the rule began, or last changed what it judges."""

    device = serializers.UUIDField(source="device_metric.device_id")
    metric = serializers.CharField(source="device_metric.metric.name")
    last_value = serializers.JSONField(allow_null=True)
    held_by = serializers.ChoiceField(RuleState.Holdup.choices, allow_blank=True)

    class Meta:
        model = RuleState
        fields = [
            "device",
            "metric",
            "state",
            "since",
            "held_by",
            "last_value",
            "last_ts",
            "last_opened",
            "due_at",
            "openings",
            "suppressed_by_cooldown",
            "absorbed_by_hysteresis",
            "late_readings",
        ]
