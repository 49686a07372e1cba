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
    code_key = models.CharField(
        max_length=100,
        blank=True,
        default="",
        editable=False,
        help_text="By which rules as code know it, whatever its name; empty for rules that were made by hand.",
    )
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
    severity_after = models.JSONField(
        default=list,
        blank=True,
        help_text='How the severity of an open event rises, such as [{"after": "10m", "severity": "critical"}].',
    )
    condition = models.JSONField(help_text='Such as {"type": "threshold", "operator": "gt", "threshold": 80}.')
    schedule = models.JSONField(
        null=True,
        blank=True,
        help_text="Active hours, such as "
        '{"timezone": "Europe/Vienna", "hours": [{"weekdays": ["mon"], "start": "08:00", "end": "17:00"}]}. '
        "Outside of them no event opens. Empty: always active.",
    )
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
            models.UniqueConstraint(
                fields=["owner", "code_key"],
                condition=~Q(code_key=""),
                nulls_distinct=False,
                name="uq_rules_code_key",
                violation_error_message="A rule with this key already exists.",
            ),
        ]
        indexes = [
            models.Index(fields=["device", "is_enabled"], name="idx_rule_device_enabled"),
            models.Index(fields=["is_enabled"], name="idx_rule_is_enabled"),
            models.Index(fields=["last_triggered_at"], name="idx_rule_last_triggered"),
            GinIndex(fields=["action_config"], name="idx_rule_action_config_gin"),
        ]

    def __str__(self) -> str:
        return self.name


class RuleVersion(models.Model):
    """A document of rules as code, as it was applied."""

    number = models.BigAutoField(primary_key=True)
    applied_at = models.DateTimeField()
    applied_by = models.CharField(max_length=150, blank=True)
    owners = models.JSONField(help_text="Whose rules it speaks of; null stands for the rules of nobody.")
    note = models.CharField(max_length=255, blank=True)
    document = models.TextField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the document.")

    class Meta:
        db_table = "rule_versions"

    def __str__(self) -> str:
        return f"Version {self.number}"


class RuleMetric(models.Model):
    """A metric that a rule's condition asks for besides the rule's own; `called` is its name in the condition."""

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="other_metrics", db_index=False)
    metric = models.ForeignKey(Metric, on_delete=models.PROTECT, related_name="+")
    called = models.CharField(max_length=100)

    class Meta:
        db_table = "rule_metrics"
        constraints = [models.UniqueConstraint(fields=["rule", "metric"], name="uq_rule_metrics")]

    def __str__(self) -> str:
        return f"{self.rule_id} asks for {self.called}"


class RuleState(models.Model):
    """Where a rule stands with one series, in event time.

    With several metrics the series is that of the rule's own metric. Counts run since the rule began, or last
    changed what it judges.
    """

    class State(models.TextChoices):
        NORMAL = "normal", "Normal"
        PENDING = "pending", "Pending"
        FIRING = "firing", "Firing"

    class Holdup(models.TextChoices):
        DURATION = "duration", "Duration"
        COOLDOWN = "cooldown", "Cooldown"
        SCHEDULE = "schedule", "Schedule"
        HYSTERESIS = "hysteresis", "Hysteresis"

    id = models.BigAutoField(primary_key=True)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="states", db_index=False)
    device_metric = models.ForeignKey(DeviceMetric, on_delete=models.CASCADE, related_name="rule_states")
    state = models.CharField(max_length=10, choices=State, default=State.NORMAL)
    since = models.DateTimeField(null=True, help_text="When this state began.")
    held_by = models.CharField(
        max_length=10, choices=Holdup, blank=True, db_default="", help_text="What keeps it in this state."
    )
    last_value = models.JSONField(null=True)
    last_ts = models.DateTimeField(null=True, help_text="The newest reading judged.")
    last_opened = models.DateTimeField(null=True, help_text="When an event last opened; the cooldown counts from here.")
    memory = models.JSONField(default=dict, help_text="What the condition remembers of earlier readings.")
    openings = models.PositiveIntegerField(db_default=0, help_text="Events opened.")
    suppressed_by_cooldown = models.PositiveIntegerField(
        db_default=0, help_text="Openings that the cooldown put off or prevented."
    )
    absorbed_by_hysteresis = models.PositiveIntegerField(
        db_default=0, help_text="Crossings back that were not taken for the end."
    )
    late_readings = models.PositiveIntegerField(db_default=0, help_text="Readings that came too late to be judged.")
    due_at = models.DateTimeField(null=True, help_text="When it has been silent for too long, if nothing comes in.")

    class Meta:
        db_table = "rule_states"
        constraints = [
            models.UniqueConstraint(fields=["rule", "device_metric"], name="uq_rule_states"),
            models.CheckConstraint(condition=Q(state__in=["normal", "pending", "firing"]), name="ck_rule_states_state"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="idx_rule_states_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} / {self.device_metric_id}: {self.state}"


class RuleChange(models.Model):
    """That a rule changed; triggers write it, worker processes read it to forget what they know of the rule."""

    id = models.BigAutoField(primary_key=True)
    xid = models.BigIntegerField()
    rule_id = models.UUIDField()
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "rule_changes"
        indexes = [models.Index(fields=["xid"], name="idx_rule_changes_xid")]

    def __str__(self) -> str:
        return f"{self.rule_id} at {self.changed_at}"
