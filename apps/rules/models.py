import uuid

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from apps.devices.models import Device, DeviceMetric, DeviceType, Metric
from apps.events.models import Event


class RuleQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(Q(owner=user) | Q(device__owner=user))


class Rule(models.Model):
    """A condition over the readings of one device, or of every device of a type.

    A rule with an `owner` judges that owner's devices only; without one (admins' rules for a type) it
    judges everybody's.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="rules"
    )
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, null=True, blank=True, related_name="rules", db_index=False
    )
    device_type = models.ForeignKey(DeviceType, on_delete=models.CASCADE, null=True, blank=True, related_name="rules")
    metric = models.ForeignKey(Metric, on_delete=models.PROTECT, related_name="rules")
    severity = models.CharField(max_length=20, choices=Event.Severity, default=Event.Severity.WARNING)
    condition = models.JSONField(help_text='Such as {"type": "threshold", "operator": "gt", "threshold": 80}.')
    action_config = models.JSONField(default=list, blank=True, help_text="Actions to take when an event opens.")
    cooldown_minutes = models.PositiveIntegerField(
        default=15, help_text="No second event of a series within this time after the last one opened."
    )
    last_triggered_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RuleQuerySet.as_manager()

    class Meta:
        db_table = "rules"
        constraints = [
            models.CheckConstraint(
                condition=Q(device__isnull=False, device_type__isnull=True)
                | Q(device__isnull=True, device_type__isnull=False),
                name="ck_rules_one_subject",
                violation_error_message="A rule is for one device or for one device type.",
            ),
            models.CheckConstraint(condition=Q(severity__in=["critical", "warning", "info"]), name="ck_rules_severity"),
        ]
        indexes = [
            models.Index(fields=["device", "is_enabled"], name="idx_rule_device_enabled"),
            models.Index(fields=["is_enabled"], name="idx_rule_is_enabled"),
            models.Index(fields=["last_triggered_at"], name="idx_rule_last_triggered"),
            GinIndex(fields=["action_config"], name="idx_rule_action_config_gin"),
        ]

    def __str__(self) -> str:
        return self.name


class RuleState(models.Model):
    """Where a rule stands with one series, in event time."""

    class State(models.TextChoices):
        NORMAL = "normal", "Normal"
        PENDING = "pending", "Pending"
        FIRING = "firing", "Firing"

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="states", db_index=False)
    device_metric = models.ForeignKey(DeviceMetric, on_delete=models.CASCADE, related_name="rule_states")
    state = models.CharField(max_length=10, choices=State, default=State.NORMAL)
    since = models.DateTimeField(null=True, help_text="When this state began.")
    last_value = models.JSONField(null=True)
    last_ts = models.DateTimeField(null=True, help_text="The newest reading judged.")
    last_opened = models.DateTimeField(null=True, help_text="When an event last opened; the cooldown counts from here.")

    class Meta:
        db_table = "rule_states"
        constraints = [
            models.UniqueConstraint(fields=["rule", "device_metric"], name="uq_rule_states"),
            models.CheckConstraint(condition=Q(state__in=["normal", "pending", "firing"]), name="ck_rule_states_state"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} / {self.device_metric_id}: {self.state}"
