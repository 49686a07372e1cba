from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from apps.devices.models import Device, Location
from apps.events.models import Event


class TemplateQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(Q(owner=user) | Q(owner__isnull=True))

    def editable_by(self, user):
        return self if user.is_admin else self.filter(owner=user)


class NotificationTemplate(models.Model):
    """What is told, to whom, and how hard to try. Without an owner it is shared: everyone may use it."""

    WRITTEN = [  # by people, over the API and in the admin
        "name",
        "owner",
        "subject_template",
        "message_template",
        "recipients",
        "priority",
        "retry_count",
        "retry_delay_minutes",
        "is_active",
        "timezone",
        "quiet_hours",
        "repeat_minutes",
        "escalate_after_minutes",
        "escalation_recipients",
        "tell_recovery",
    ]

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
    timezone = models.CharField(
        max_length=64, default="UTC", blank=True, help_text="IANA name, for times in messages and for quiet hours."
    )
    quiet_hours = models.CharField(
        max_length=11, blank=True, help_text="Such as 22:00-07:00, in the time zone: nobody is told then."
    )
    repeat_minutes = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(7 * 24 * 60)],
        help_text="Remind this often of an event that nobody has acknowledged; 0 never.",
    )
    escalate_after_minutes = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(7 * 24 * 60)],
        help_text="Tell the escalation recipients too, if nobody has acknowledged by then; 0 never.",
    )
    escalation_recipients = models.JSONField(default=list, blank=True)
    tell_recovery = models.BooleanField(default=False, help_text="Tell also when the event is resolved.")
    failing_recipients = models.JSONField(
        default=dict,
        editable=False,
        help_text="Whose last delivery failed for good: {address: {type, error, at}}. A success removes the entry.",
    )
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

    Those of one `group_key` that wait at the same time go out as one message: the `leader` is sent, the others
    share its fate. `kind` and `sequence` tell the first message from reminders, escalations and the recovery.

    A worker claims it by setting `claimed_at`; the claim lapses, so a worker that dies in the middle of
    sending delays the message and does not lose it. It is sent at least once; receivers tell a repeat by
    its id (`webhook-id`, `Message-ID`).
    """

    class Channel(models.TextChoices):
        EMAIL = "email", "Email"
        WEBHOOK = "webhook", "Webhook"
        SMS = "sms", "SMS"
        CHAT = "chat", "Chat"

    class Kind(models.TextChoices):
        OPENED = "opened", "Event opened"
        REMINDER = "reminder", "Reminder"
        ESCALATION = "escalation", "Escalation"
        RECOVERY = "recovery", "Recovery"

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        SUPPRESSED = "suppressed", "Suppressed"

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    template = models.ForeignKey(
        NotificationTemplate, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries"
    )
    action_index = models.PositiveSmallIntegerField(help_text="Which action of the event this delivers.")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.OPENED)
    sequence = models.PositiveIntegerField(default=0, help_text="Which reminder this is.")
    leader = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="members",
        help_text="The delivery whose message tells of this event too.",
    )
    gateway = models.ForeignKey(
        Device,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="The gateway whose silence this tells of; the others that fell silent behind it share the message.",
    )
    is_grouped = models.BooleanField(default=False, editable=False, help_text="May share a message with others.")
    group_key = models.CharField(max_length=64, blank=True, editable=False)
    lane = models.CharField(max_length=255, blank=True, editable=False, help_text="What it queues for: channel, host.")
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
    suppressed_by = models.CharField(max_length=255, blank=True, help_text="Why nobody was told, or is not yet.")
    follow_up_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When to see whether somebody has taken care of the event."
    )
    is_followed = models.BooleanField(default=False, editable=False, help_text="More is to be told of the event.")
    sent_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "notification_deliveries"
        verbose_name_plural = "notification deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["event", "action_index", "recipient_type", "recipient_address", "kind", "sequence"],
                name="uq_notification_deliveries_recipient",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sent", "failed", "suppressed"]),
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
                condition=Q(status="pending", leader=None),
            ),
            # When a recipient was last told, how often within a minute, and what waits for the same message.
            models.Index(fields=["group_key", "created_at"], name="idx_notif_delivery_group"),
            models.Index(fields=["follow_up_at"], name="idx_notif_delivery_follow", condition=Q(is_followed=True)),
        ]

    def __str__(self) -> str:
        return f"{self.recipient_type} to {self.recipient_address}"


class NotificationAttempt(models.Model):
    """One try to hand a message over. Written when it begins; without an end, its worker died in the middle."""

    class Outcome(models.TextChoices):
        UNDER_WAY = "under_way", "Under way"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        REFUSED = "refused", "Failed for good"
        LOST = "lost", "The worker died"

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(NotificationDelivery, on_delete=models.CASCADE, related_name="attempts")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.UNDER_WAY)
    error = models.TextField(blank=True)
    response_status = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="What the receiver answered: an HTTP status or an SMTP reply code."
    )

    class Meta:
        db_table = "notification_attempts"

    def __str__(self) -> str:
        return f"{self.outcome} at {self.started_at:%Y-%m-%d %H:%M:%S}"


class SilenceQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(owner=user)

    def active(self, *, now):
        return self.filter(starts_at__lte=now, ends_at__gt=now)


class Silence(models.Model):
    """For a while nobody is told of certain events; they are remembered all the same.

    What is left empty matches everything. Without an owner it is for everybody's devices.
    """

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="silences"
    )
    reason = models.CharField(max_length=200, help_text="Shown with what it suppresses.")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    location = models.ForeignKey(
        Location,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="With everything that lies within.",
    )
    rule = models.ForeignKey("rules.Rule", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    severity = models.CharField(max_length=20, choices=Event.Severity, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        db_table = "silences"
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")),
                name="ck_silences_window",
                violation_error_message="ends_at must come after starts_at.",
            )
        ]
        indexes = [models.Index(fields=["ends_at"], name="idx_silences_end")]

    def __str__(self) -> str:
        return self.reason
