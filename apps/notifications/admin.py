from django import forms
from django.contrib import admin, messages
from django.db.models import JSONField
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import linebreaksbr
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.devices.admin.keys import back_to
from apps.events.masking import masked
from apps.notifications import hours, recipients, rendering, services
from apps.notifications.models import NotificationAttempt, NotificationDelivery, NotificationTemplate, Silence
from apps.users import zones

STATUS_COLOURS = {"pending": "info", "sent": "success", "failed": "danger", "suppressed": "warning"}


class TemplateForm(forms.ModelForm):
    class Meta:
        model = NotificationTemplate
        fields = NotificationTemplate.WRITTEN

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stored_recipients = self.instance.recipients
        self.stored_escalation = self.instance.escalation_recipients
        self.initial["recipients"] = masked(self.stored_recipients)
        self.initial["escalation_recipients"] = masked(self.stored_escalation)

    def clean_recipients(self):
        return _normalised(self.cleaned_data["recipients"], self.stored_recipients)

    def clean_escalation_recipients(self):
        return _normalised(self.cleaned_data["escalation_recipients"] or [], self.stored_escalation)

    def clean_timezone(self):
        return _accepted(zones.check_zone, self.cleaned_data["timezone"] or "UTC")

    def clean_quiet_hours(self):
        return _accepted(hours.parse, self.cleaned_data["quiet_hours"])

    def clean_subject_template(self):
        return self._checked("subject_template")

    def clean_message_template(self):
        return self._checked("message_template")

    def _checked(self, name: str) -> str:
        return _accepted(rendering.check, self.cleaned_data[name])


def _accepted(check, text: str) -> str:
    try:
        check(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
    return text


def _normalised(entries, before: list[dict]) -> list[dict]:
    try:
        return recipients.normalise(recipients.with_kept_secrets(entries, before))
    except recipients.InvalidRecipients as error:
        raise forms.ValidationError(str(error)) from error


@admin.register(NotificationTemplate)
class TemplateAdmin(ModelAdmin):
    form = TemplateForm
    list_display = ["name", "owned_by", "recipient_count", "failing", "priority", "is_active", "updated_at"]
    list_filter = ["is_active", "priority"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__username"]
    ordering = ["name", "pk"]
    autocomplete_fields = ["owner"]
    readonly_fields = ["failing"]
    formfield_overrides = {JSONField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 4})}}
    fieldsets = [
        (None, {"fields": ["name", "owner", "is_active"]}),
        ("Message", {"fields": ["subject_template", "message_template", "recipients", "failing", "timezone"]}),
        ("Delivery", {"fields": ["priority", "retry_count", "retry_delay_minutes"]}),
        ("Calm", {"fields": ["quiet_hours", "repeat_minutes", "tell_recovery"]}),
        ("Escalation", {"fields": ["escalate_after_minutes", "escalation_recipients"]}),
    ]
    actions = ["send_test"]
    actions_detail = ["send_test_of_this"]

    @display(description="Owner", ordering="owner__username")
    def owned_by(self, template):
        return template.owner or "shared"

    @display(description="Recipients")
    def recipient_count(self, template):
        return len(template.recipients)

    @display(description="Can't be reached")
    def failing(self, template):
        return ", ".join(sorted(template.failing_recipients)) or "–"

    @action(description="Send a test")
    def send_test(self, request, queryset):
        for template in queryset:
            self._send_test(request, template)

    @action(
        description="Send a test",
        url_path="send-test",
        icon="send",
        permissions=["change"],
        dialog={
            "title": "Send a test?",
            "description": "The saved template goes to all its recipients, filled with a sample.",
            "form_submit_text": "Send",
        },
    )
    def send_test_of_this(self, request, form, object_id):
        template = get_object_or_404(NotificationTemplate, pk=object_id)
        self._send_test(request, template)
        return back_to(template)

    def _send_test(self, request, template):
        for result in services.send_test(template=template):
            level = messages.SUCCESS if result["status"] == "sent" else messages.ERROR
            outcome = result["error"] or "sent"
            self.message_user(request, f"{template}, {result['recipient']}: {outcome}", level)


@admin.register(Silence)
class SilenceAdmin(ModelAdmin):
    list_display = ["reason", "owner", "device", "location", "rule", "severity", "starts_at", "ends_at"]
    list_filter = ["severity", "ends_at"]
    list_select_related = ["owner", "device", "location", "rule"]
    search_fields = ["reason", "device__name", "device__serial_number"]
    autocomplete_fields = ["owner", "device", "location", "rule"]
    fields = ["reason", ("starts_at", "ends_at"), "device", "location", "rule", "severity", "owner"]
    ordering = ["-ends_at", "-pk"]

    def get_changeform_initial_data(self, request):
        return {"starts_at": timezone.now()} | super().get_changeform_initial_data(request)

    def save_model(self, request, silence, form, change):
        if not change:
            silence.created_by = request.user
        super().save_model(request, silence, form, change)


class AttemptInline(TabularInline):
    model = NotificationAttempt
    fields = readonly_fields = ["started_at", "finished_at", "outcome", "response_status", "error"]
    extra = 0
    can_delete = False
    ordering = ["pk"]

    def has_add_permission(self, request, obj=None):
        return False


@admin.register(NotificationDelivery)
class DeliveryAdmin(ModelAdmin):
    """A record of what was told: it can be looked at and tried again, not edited."""

    list_display = ["rendered_subject", "recipient", "status_badge", "kind", "why", "attempt_count", "created_at"]
    fieldsets = [
        (None, {"fields": ["event", "recipient", "status_badge", "why", "message"]}),
        ("Delivery", {"fields": ["template", "kind", "leader", "gateway", "priority", "attempt_count"]}),
        ("Times", {"fields": ["created_at", "next_attempt_at", "last_attempt_at", "sent_at"]}),
    ]
    inlines = [AttemptInline]
    list_filter = ["status", "kind", "recipient_type", "created_at"]
    search_fields = ["recipient_address", "recipient_name", "rendered_subject"]
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    actions = ["retry_selected"]

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, delivery):
        return delivery.status

    @display(description="Recipient", ordering="recipient_address")
    def recipient(self, delivery):
        name = f"{delivery.recipient_name}, " if delivery.recipient_name else ""
        return f"{name}{delivery.recipient_address} ({delivery.get_recipient_type_display()})"

    @display(description="Why")
    def why(self, delivery):
        return delivery.suppressed_by or delivery.error_message or "–"

    @display(description="Message")
    def message(self, delivery):
        return format_html("{}<br><br>{}", delivery.rendered_subject, linebreaksbr(delivery.rendered_message))

    @action(description="Try failed ones again")
    def retry_selected(self, request, queryset):
        again = sum(services.retry(delivery=delivery, now=timezone.now()) for delivery in queryset)
        self.message_user(request, f"{again} of {len(queryset)} will be tried again.", messages.SUCCESS)

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
