from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.devices.models import Device, DeviceMetric


class EventQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(device__owner=user)

    def open(self):
        return self.exclude(status=Event.Status.RESOLVED)


class Event(models.Model):
    """Something that happened: a rule began to hold for a series.

    `timestamp` is event time (when the deciding reading was taken), `created_at` is when the hub knew.
    The deciding reading is named by its natural key, (`device_metric`, `reading_ts`). An event with no
    `dispatched_at` is still to be told of: the row is the queue.
    """

    class Severity(models.TextChoices):
        CRITICAL = "critical", "Critical"
        WARNING = "warning", "Warning"
        INFO = "info", "Info"

    class Status(models.TextChoices):
        NEW = "new", "New"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        RESOLVED = "resolved", "Resolved"

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(
        "rules.Rule", on_delete=models.SET_NULL, null=True, blank=True, related_name="events", db_index=False
    )
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="events")
    device_metric = models.ForeignKey(
        DeviceMetric, on_delete=models.SET_NULL, null=True, blank=True, related_name="events", db_index=False
    )
    reading_ts = models.DateTimeField(null=True, blank=True)
    timestamp = models.DateTimeField()
    severity = models.CharField(max_length=20, choices=Severity)
    message = models.TextField()
    execution_results = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.NEW)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Nobody, when the condition cleared by itself.",
    )
    severity_rises_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the severity rises next if the event is still open then."
    )
    dispatched_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = EventQuerySet.as_manager()

    class Meta:
        db_table = "events"
        constraints = [
            # However many workers judge the same readings, one event is open.
            models.UniqueConstraint(
                fields=["rule", "device_metric"],
                condition=~Q(status="resolved"),
                name="uq_events_open",
            ),
            models.CheckConstraint(
                condition=Q(severity__in=["critical", "warning", "info"]), name="ck_events_severity"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["new", "acknowledged", "resolved"]), name="ck_events_status"
            ),
        ]
        indexes = [
            models.Index(fields=["rule", "-timestamp"], name="idx_event_rule"),
            models.Index(fields=["device_metric", "reading_ts"], name="idx_event_telemetry"),
            models.Index(fields=["status", "timestamp"], name="idx_event_status_time"),
            models.Index(fields=["timestamp", "severity", "status"], name="idx_event_time_severity_status"),
            GinIndex(fields=["execution_results"], name="idx_event_exec_results_gin"),
            models.Index(
                fields=["severity_rises_at"],
                name="idx_event_severity_rises",
                condition=Q(severity_rises_at__isnull=False) & ~Q(status="resolved"),
            ),
            # The outbox.
            models.Index(fields=["created_at"], name="idx_event_undispatched", condition=Q(dispatched_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.message}"

    @property
    def rule_name(self) -> str:
        """The rule's name, also when the rule is gone."""
        if self.rule is not None:
            return self.rule.name
        return (self.metadata.get("rule") or {}).get("name", "")


class EventComment(models.Model):
    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "event_comments"

    def __str__(self) -> str:
        return self.body[:60]
