from django import forms
from django.contrib import admin
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.rules import conditions, services
from apps.rules.models import Rule, RuleState


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
            "condition",
            "action_config",
            "cooldown_minutes",
            "is_enabled",
        ]

    def clean(self):
        cleaned = super().clean()
        if cleaned.get("condition") is not None and cleaned.get("metric") is not None:
            try:
                condition = conditions.parse(cleaned["condition"])
                conditions.check_data_type(condition, cleaned["metric"].data_type)
            except conditions.ConditionError as error:
                where = f"{error.field}: " if error.field else ""
                self.add_error("condition", f"{where}{error}")
        return cleaned


@admin.register(Rule)
class RuleAdmin(ModelAdmin):
    form = RuleForm
    list_display = ["name", "subject", "metric", "severity_label", "is_enabled", "last_triggered_at"]
    list_filter = ["is_enabled", "severity", "metric"]
    list_select_related = ["device", "device_type", "metric"]
    search_fields = ["name", "device__name", "device__serial_number", "device_type__name"]
    autocomplete_fields = ["device", "device_type", "metric"]
    readonly_fields = ["last_triggered_at"]
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

    list_display = ["rule", "device_metric", "state", "since", "last_value", "last_ts"]
    list_filter = ["state"]
    list_select_related = ["rule", "device_metric__device", "device_metric__metric"]
    search_fields = ["rule__name", "device_metric__device__serial_number"]
    ordering = ["-last_ts", "id"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
