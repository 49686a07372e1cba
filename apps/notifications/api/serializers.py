from django.utils import timezone
from rest_framework import serializers

from apps.notifications import rendering
from apps.notifications.api.fields import QuietHoursField, RecipientsField, TemplateTextField, ZoneField
from apps.notifications.models import NotificationAttempt, NotificationDelivery, NotificationTemplate, Silence


class TemplateSerializer(serializers.ModelSerializer):
    """A client's template is the client's own. An admin's is shared, unless it names an owner."""

    subject_template = TemplateTextField(max_length=255, required=False, allow_blank=True)
    message_template = TemplateTextField(
        max_length=rendering.MAX_TEMPLATE,
        help_text=NotificationTemplate._meta.get_field("message_template").help_text,
    )
    recipients = RecipientsField(required=False)
    escalation_recipients = RecipientsField(required=False)
    timezone = ZoneField(required=False, max_length=64, help_text="IANA name, for times and quiet hours.")
    quiet_hours = QuietHoursField(required=False, allow_blank=True, max_length=11, help_text="Such as 22:00-07:00.")

    class Meta:
        model = NotificationTemplate
        fields = ["id", *NotificationTemplate.WRITTEN, "failing_recipients", "created_at", "updated_at"]
        read_only_fields = ["failing_recipients", "created_at", "updated_at"]
        extra_kwargs = {"owner": {"help_text": "Nobody's: everyone may use it, and admins edit it."}}
        validators = []  # unique per owner: the database says so

    def validate_owner(self, owner):
        user = self.context["request"].user
        if not user.is_admin and owner != user:
            raise serializers.ValidationError("Only an admin shares a template or makes one for others.")
        return owner

    def validate(self, attrs):
        user = self.context["request"].user
        if self.instance is None and not user.is_admin:
            attrs["owner"] = user
        return attrs


class DeliverySerializer(serializers.ModelSerializer):
    class Meta:
        model = NotificationDelivery
        fields = [
            "id",
            "event",
            "template",
            "action_index",
            "kind",
            "sequence",
            "leader",
            "gateway",
            "recipient_type",
            "recipient_address",
            "recipient_name",
            "rendered_subject",
            "rendered_message",
            "status",
            "priority",
            "attempt_count",
            "last_attempt_at",
            "next_attempt_at",
            "error_message",
            "suppressed_by",
            "sent_at",
            "created_at",
        ]
        read_only_fields = fields


class TestResultSerializer(serializers.Serializer):
    recipient = serializers.CharField()
    status = serializers.ChoiceField(choices=["sent", "failed"])
    error = serializers.CharField(allow_null=True)


class TestResultsSerializer(serializers.Serializer):
    results = TestResultSerializer(many=True)


class AttemptSerializer(serializers.ModelSerializer):
    class Meta:
        model = NotificationAttempt
        fields = ["id", "started_at", "finished_at", "outcome", "error", "response_status"]
        read_only_fields = fields


class PreviewRequestSerializer(serializers.Serializer):
    """Texts to try before they are saved; what is left out is the template's, or empty."""

    subject_template = serializers.CharField(required=False, allow_blank=True, max_length=255)
    message_template = serializers.CharField(required=False, max_length=rendering.MAX_TEMPLATE)
    event = serializers.IntegerField(required=False, help_text="To fill it with; a sample where left out.")
    timezone = ZoneField(required=False)


class PreviewSerializer(serializers.Serializer):
    subject = serializers.CharField()
    message = serializers.CharField()
    error = serializers.CharField(allow_null=True, help_text="Why the plain text would go out in place of this.")


class SilenceSerializer(serializers.ModelSerializer):
    """A client's silence is for the client's own devices. An admin's is for everybody's, unless it names an owner."""

    class Meta:
        model = Silence
        fields = [
            "id",
            "owner",
            "reason",
            "device",
            "location",
            "rule",
            "severity",
            "starts_at",
            "ends_at",
            "created_by",
            "created_at",
        ]
        read_only_fields = ["created_by", "created_at"]
        extra_kwargs = {
            "starts_at": {"required": False, "help_text": "Now, where left out."},
            "severity": {"help_text": "Empty: all of them."},
        }

    def get_fields(self):
        """Of devices and rules one can name those that one sees; the others do not exist."""
        fields = super().get_fields()
        user = getattr(self.context.get("request"), "user", None)
        if user is not None and user.is_authenticated:
            for name in ("device", "rule"):
                field = fields[name]
                field.queryset = field.queryset.model._default_manager.visible_to(user)
        return fields

    def validate_owner(self, owner):
        user = self.context["request"].user
        if not user.is_admin and owner != user:
            raise serializers.ValidationError("Only an admin silences for others.")
        return owner

    def validate(self, attrs):
        user = self.context["request"].user
        if self.instance is None:
            attrs.setdefault("starts_at", timezone.now())
            if not user.is_admin:
                attrs["owner"] = user
        return attrs
