from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.events.masking import masked
from apps.notifications import hours, recipients, rendering
from apps.notifications.channels import CHANNELS
from apps.users import zones

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
                    "address": {"type": "string", "description": "Of an email or SMS; of a chat its name."},
                    "url": {"type": "string", "description": "Of a webhook."},
                    "secret": {
                        "type": "string",
                        "description": "Signs a webhook; of a chat the URL for apprise, such as slack://A/B/C. "
                        "Never shown again; send the mask back to keep it.",
                    },
                    "previous_secret": {
                        "type": "string",
                        "description": "Signs a webhook too, while receivers learn the new secret.",
                    },
                    "timezone": {"type": "string", "description": "IANA name; the template's where left out."},
                    "quiet_hours": {"type": "string", "description": "Such as 22:00-07:00."},
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
        before = getattr(self.parent.instance, self.field_name, [])
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


class ZoneField(serializers.CharField):
    """An IANA time zone."""

    def to_internal_value(self, data):
        return _checked(zones.check_zone, super().to_internal_value(data))


class QuietHoursField(serializers.CharField):
    """Such as 22:00-07:00."""

    def to_internal_value(self, data):
        text = super().to_internal_value(data)
        _checked(hours.parse, text)
        return text


def _checked(check, text: str):
    try:
        return check(text)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error
