from rest_framework import serializers

from apps.notifications import rendering
from apps.notifications.api.fields import RecipientsField, TemplateTextField
from apps.notifications.models import NotificationDelivery, NotificationTemplate


class TemplateSerializer(serializers.ModelSerializer):
    """A client's template is the client's own. An admin's is shared, unless it names an owner."""

    subject_template = TemplateTextField(max_length=255, required=False, allow_blank=True)
    message_template = TemplateTextField(
        max_length=rendering.MAX_TEMPLATE,
        help_text=NotificationTemplate._meta.get_field("message_template").help_text,
    )
    recipients = RecipientsField(required=False)

    class Meta:
        model = NotificationTemplate
        fields = [
            "id",
            "name",
            "owner",
            "subject_template",
            "message_template",
            "recipients",
            "priority",
            "retry_count",
            "retry_delay_minutes",
            "is_active",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["created_at", "updated_at"]
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
