from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from apps.events.models import Event


class TemplateQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(Q(owner=user) | Q(owner__isnull=True))

    def editable_by(self, user):
        return self if user.is_admin else self.filter(owner=user)


class NotificationTemplate(models.Model):
    """What is told, to whom, and how hard to try. Without an owner it is shared: everyone may use it."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="notification_templates",
    )
    subject_template = models.CharField(max_length=255, blank=True)
    message_template = models.TextField(
        help_text=(
            "Placeholders such as {{ device.name }}, {{ reading.value }}, {{ rule.name }}, {{ event.severity }}."
        )
    )
    recipients = models.JSONField(
        default=list,
        blank=True,
        help_text='Such as [{"type": "email", "address": "a@example.com"}, {"type": "webhook", "url": "https://…"}].',
    )
    priority = models.PositiveIntegerField(default=1, help_text="Lower goes first.")
    retry_count = models.PositiveIntegerField(default=3, validators=[MaxValueValidator(100)])
    retry_delay_minutes = models.PositiveIntegerField(default=5, validators=[MaxValueValidator(24 * 60)])
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        db_table = "notification_templates"
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                name="uq_notification_templates_name",
                nulls_distinct=False,
                violation_error_message="A template with this name already exists.",
            )
        ]
        indexes = [
            models.Index(fields=["name"], name="idx_notif_template_name"),
            models.Index(fields=["is_active"], name="idx_notif_template_active"),
            models.Index(fields=["priority"], name="idx_notif_template_priority"),
            GinIndex(fields=["recipients"], name="idx_notif_template_recip_gin"),
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(event__device__owner=user)


class NotificationDelivery(models.Model):
    """One message to one recipient about one event.

    A worker claims it by setting `claimed_at`; the claim lapses, so a worker that dies in the middle of
    sending delays the message and does not lose it. It is sent at least once; receivers tell a repeat by
    its id (`webhook-id`, `Message-ID`).
    """

    class Channel(models.TextChoices):
        EMAIL = "email", "Email"
        WEBHOOK = "webhook", "Webhook"

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    template = models.ForeignKey(
        NotificationTemplate, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries"
    )
    action_index = models.PositiveSmallIntegerField(help_text="Which action of the event this delivers.")
    recipient_type = models.CharField(max_length=20, choices=Channel)
    recipient_address = models.TextField()
    recipient_name = models.CharField(max_length=255, blank=True)
    rendered_subject = models.CharField(max_length=255, blank=True)
    rendered_message = models.TextField()
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING)
    priority = models.PositiveIntegerField(default=1)
    attempt_count = models.PositiveIntegerField(default=0)
    last_attempt_at = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(help_text="Not before this time.")
    claimed_at = models.DateTimeField(null=True, blank=True)
    error_message = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "notification_deliveries"
        verbose_name_plural = "notification deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["event", "action_index", "recipient_type", "recipient_address"],
                name="uq_notification_deliveries_recipient",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sent", "failed"]),
                name="ck_notification_deliveries_status",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "priority", "created_at"], name="idx_notif_delivery_queue"),
            models.Index(fields=["status", "attempt_count", "last_attempt_at"], name="idx_notif_delivery_retry"),
            # What a worker looks for.
            models.Index(
                fields=["priority", "next_attempt_at"],
                name="idx_notif_delivery_due",
                condition=Q(status="pending"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.recipient_type} to {self.recipient_address}"
