from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.events.masking import masked
from apps.notifications import recipients, rendering
from apps.notifications.channels import CHANNELS

RECIPIENTS_SCHEMA = {
    "type": "array",
    "maxItems": recipients.MAX_RECIPIENTS,
    "items": {
        "oneOf": [
            {"type": "string", "description": "An email address, or an http(s) URL."},
            {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"type": "string", "enum": sorted(CHANNELS)},
                    "name": {"type": "string"},
                    "address": {"type": "string", "description": "Of an email."},
                    "url": {"type": "string", "description": "Of a webhook."},
                    "secret": {
                        "type": "string",
                        "description": "Signs a webhook. Never shown again; send the mask back to keep it.",
                    },
                },
            },
        ]
    },
    "example": [{"type": "email", "address": "a@example.com"}, "https://example.com/hook"],
}


@extend_schema_field(RECIPIENTS_SCHEMA)
class RecipientsField(serializers.JSONField):
    """Recipients in their stored form; secrets go in and don't come out."""

    def to_representation(self, value):
        return masked(super().to_representation(value))

    def to_internal_value(self, data):
        before = getattr(self.parent.instance, "recipients", [])
        entries = recipients.with_kept_secrets(super().to_internal_value(data), before)
        try:
            return recipients.normalise(entries)
        except recipients.InvalidRecipients as error:
            raise serializers.ValidationError(
                {str(index): [message] for index, message in error.errors.items()}
            ) from error


class TemplateTextField(serializers.CharField):
    """Text with placeholders, refused with a reason if it can't be filled."""

    def to_internal_value(self, data):
        source = super().to_internal_value(data)
        try:
            rendering.check(source)
        except ValueError as error:
            raise serializers.ValidationError(str(error), code="template_syntax") from error
        return source
