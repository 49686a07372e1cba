from django import forms
from django.contrib import admin, messages
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from apps.events.masking import masked
from apps.notifications import recipients, rendering, services
from apps.notifications.models import NotificationDelivery, NotificationTemplate

STATUS_COLOURS = {"pending": "info", "sent": "success", "failed": "danger"}


class TemplateForm(forms.ModelForm):
    class Meta:
        model = NotificationTemplate
        fields = [
            "name",
            "owner",
            "subject_template",
            "message_template",
            "recipients",
            "priority",
            "retry_count",
            "retry_delay_minutes",
            "is_active",
        ]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stored_recipients = self.instance.recipients
        self.initial["recipients"] = masked(self.stored_recipients)

    def clean_recipients(self):
        entries = recipients.with_kept_secrets(self.cleaned_data["recipients"], self.stored_recipients)
        try:
            return recipients.normalise(entries)
        except recipients.InvalidRecipients as error:
            raise forms.ValidationError(str(error)) from error

    def clean_subject_template(self):
        return self._checked("subject_template")

    def clean_message_template(self):
        return self._checked("message_template")

    def _checked(self, name: str) -> str:
        try:
            rendering.check(self.cleaned_data[name])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return self.cleaned_data[name]


@admin.register(NotificationTemplate)
class TemplateAdmin(ModelAdmin):
    form = TemplateForm
    list_display = ["name", "owned_by", "recipient_count", "priority", "is_active", "updated_at"]
    list_filter = ["is_active", "priority"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__username"]
    ordering = ["name", "pk"]
    actions = ["send_test"]

    @display(description="Owner", ordering="owner__username")
    def owned_by(self, template):
        return template.owner or "shared"

    @display(description="Recipients")
    def recipient_count(self, template):
        return len(template.recipients)

    @action(description="Send a test")
    def send_test(self, request, queryset):
        for template in queryset:
            for result in services.send_test(template=template):
                level = messages.SUCCESS if result["status"] == "sent" else messages.ERROR
                outcome = result["error"] or "sent"
                self.message_user(request, f"{template}, {result['recipient']}: {outcome}", level)


@admin.register(NotificationDelivery)
class DeliveryAdmin(ModelAdmin):
    """A record of what was told: it can be looked at and tried again, not edited."""

    list_display = [
        "recipient_address",
        "recipient_type",
        "status_badge",
        "event",
        "template",
        "attempt_count",
        "created_at",
        "sent_at",
    ]
    list_filter = ["status", "recipient_type", "created_at"]
    list_select_related = ["event", "template"]
    search_fields = ["recipient_address", "recipient_name", "rendered_subject"]
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    actions = ["retry_selected"]

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, delivery):
        return delivery.status

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
