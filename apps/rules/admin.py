from django import forms
from django.contrib import admin
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.rules import escalation, schedule, services, validation
from apps.rules.conditions import ConditionError
from apps.rules.models import Rule, RuleState, RuleVersion


class RuleForm(forms.ModelForm):
    class Meta:
        model = Rule
        fields = [
            "name",
            "description",
            "device",
            "device_type",
            "metric",
            "severity",
            "severity_after",
            "condition",
            "schedule",
            "action_config",
            "cooldown_minutes",
            "is_enabled",
        ]

    def clean(self):
        cleaned = super().clean()
        if cleaned.get("condition") is not None and cleaned.get("metric") is not None:
            self._check_condition(cleaned)
        self._check("schedule", lambda: schedule.parse(cleaned.get("schedule")))
        for name in {"severity_after", "action_config"} & cleaned.keys():
            cleaned[name] = [] if cleaned[name] is None else cleaned[name]  # an empty text is no list
        steps, severity = cleaned.get("severity_after", []), cleaned.get("severity")
        if severity:
            self._check("severity_after", lambda: escalation.parse(steps, severity=severity))
        return cleaned

    def _check(self, field: str, parse) -> None:
        try:
            parse()
        except ConditionError as error:
            self.add_error(field, _told(error))

    def _check_condition(self, cleaned) -> None:
        try:
            validation.check_condition(document=cleaned["condition"], metric=cleaned["metric"])
        except ConditionError as error:
            self.add_error("condition", _told(error))
        except validation.MetricError as error:
            self.add_error("metric", str(error))


def _told(error: ConditionError) -> str:
    return f"{error.field}: {error}" if error.field else str(error)


@admin.register(Rule)
class RuleAdmin(ModelAdmin):
    form = RuleForm
    list_display = ["name", "subject", "metric", "severity_label", "is_enabled", "last_triggered_at"]
    list_filter = ["is_enabled", "severity", "metric"]
    list_select_related = ["device", "device_type", "metric"]
    search_fields = ["name", "code_key", "device__name", "device__serial_number", "device_type__name"]
    autocomplete_fields = ["device", "device_type", "metric"]
    readonly_fields = ["last_triggered_at", "code_key"]
    ordering = ["name", "id"]

    @display(description="For")
    def subject(self, rule):
        return rule.device or f"every {rule.device_type}"

    @display(description="Severity", label={"critical": "danger", "warning": "warning", "info": "info"})
    def severity_label(self, rule):
        return rule.severity

    def save_model(self, request, rule, form, change):
        services.save_rule(rule=rule, now=timezone.now())

    def delete_model(self, request, rule):
        services.delete_rule(rule=rule, now=timezone.now())

    def delete_queryset(self, request, queryset):
        for rule in queryset:
            self.delete_model(request, rule)


@admin.register(RuleState)
class RuleStateAdmin(ModelAdmin):
    """Read-only: the state follows from the readings."""

    list_display = [
        *("rule", "device_metric", "state", "held_by", "since", "last_value", "last_ts"),
        *("openings", "suppressed_by_cooldown", "absorbed_by_hysteresis", "late_readings"),
    ]
    list_filter = ["state", "held_by"]
    list_select_related = ["rule", "device_metric__device", "device_metric__metric"]
    search_fields = ["rule__name", "device_metric__device__serial_number"]
    ordering = ["-last_ts", "id"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(RuleVersion)
class RuleVersionAdmin(ModelAdmin):
    """Read-only: what `manage.py rules apply` has applied."""

    list_display = ["number", "applied_at", "applied_by", "owners", "note", "short_digest"]
    search_fields = ["applied_by", "digest", "document"]
    date_hierarchy = "applied_at"
    ordering = ["-number"]

    @display(description="Digest")
    def short_digest(self, version):
        return version.digest[:12]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
