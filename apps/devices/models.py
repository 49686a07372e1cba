import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower


def lies_within_itself(node: models.Model) -> bool:
    """Whether `node.parent` closes a circle, asked of the rows as they are now and not as they were loaded."""
    above = node.parent_id
    while above is not None and above != node.pk:
        above = type(node).objects.values_list("parent_id", flat=True).filter(pk=above).first()
    return above is not None


class Location(models.Model):
    """A place; places form a tree (site, building, room)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    latitude = models.FloatField(null=True, blank=True, help_text="Degrees, WGS 84, −90 to 90.")
    longitude = models.FloatField(null=True, blank=True, help_text="Degrees, WGS 84, −180 to 180.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "locations"
        constraints = [
            models.UniqueConstraint(
                fields=["parent", "name"],
                name="uq_locations_parent_name",
                nulls_distinct=False,
                violation_error_message="A location with this name already exists there.",
            ),
            models.CheckConstraint(condition=Q(latitude__range=(-90, 90)), name="ck_locations_latitude"),
            models.CheckConstraint(condition=Q(longitude__range=(-180, 180)), name="ck_locations_longitude"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self):
        if lies_within_itself(self):
            raise ValidationError({"parent": "A location can't lie within itself."})


class DeviceType(models.Model):
    """A kind of device, with the metric it is bought for and the range expected of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    metric_name = models.CharField(max_length=100, help_text="The primary metric, such as vibration.")
    metric_unit = models.CharField(max_length=50, help_text="Its unit, such as mm/s.")
    metric_min = models.DecimalField(max_digits=15, decimal_places=4, null=True, blank=True)
    metric_max = models.DecimalField(max_digits=15, decimal_places=4, null=True, blank=True)
    raw_retention = models.DurationField(
        null=True,
        blank=True,
        validators=[MinValueValidator(timedelta(days=1))],
        help_text="How long readings of such devices are kept (90 00:00:00 is 90 days), where that is shorter than "
        "usual. Hours and days are kept all the same.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "device_types"
        constraints = [
            models.CheckConstraint(
                condition=Q(metric_min__isnull=True) | Q(metric_max__isnull=True) | Q(metric_min__lte=F("metric_max")),
                name="ck_device_types_range",
                violation_error_message="metric_min must not exceed metric_max.",
            ),
            models.CheckConstraint(
                condition=Q(raw_retention__isnull=True) | Q(raw_retention__gte=timedelta(days=1)),
                name="ck_device_types_raw_retention",
                violation_error_message="raw_retention must be at least a day.",
            ),
        ]
        indexes = [models.Index(fields=["metric_name"], name="idx_device_type_metric")]

    def __str__(self) -> str:
        return self.name


class Metric(models.Model):
    """Something that can be measured. Names are the same whatever their case."""

    class DataType(models.TextChoices):
        NUMERIC = "numeric", "Number"
        BOOLEAN = "boolean", "True or false"
        STRING = "str", "Text"

    id = models.AutoField(primary_key=True)
    name = models.CharField(max_length=100)
    data_type = models.CharField(max_length=10, choices=DataType, default=DataType.NUMERIC)
    unit = models.CharField(max_length=50, blank=True)
    description = models.TextField(blank=True)

    class Meta:
        db_table = "metrics"
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="uq_metrics_name",
                violation_error_message="A metric with this name already exists.",
            ),
            models.CheckConstraint(
                condition=Q(data_type__in=["numeric", "boolean", "str"]), name="ck_metrics_data_type"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DeviceQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_admin else self.filter(owner=user)


class Device(models.Model):
    class Status(models.TextChoices):
        ACTIVE = "active", "Active"
        INACTIVE = "inactive", "Inactive"
        ERROR = "error", "Error"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    serial_number = models.CharField(max_length=255, unique=True)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    device_type = models.ForeignKey(DeviceType, on_delete=models.PROTECT, related_name="devices", db_index=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="devices", db_index=False
    )
    location = models.ForeignKey(Location, on_delete=models.SET_NULL, null=True, blank=True, related_name="devices")
    parent = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="children",
        help_text="The gateway that this device reports through.",
    )
    status = models.CharField(max_length=20, choices=Status, default=Status.ACTIVE)
    last_seen = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When telemetry last came in (server time)."
    )
    clock_skew_ms = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="How far the device's clock runs ahead (negative: behind, or slow to send), as its messages tell.",
    )
    clock_skew_at = models.DateTimeField(null=True, editable=False)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        db_table = "devices"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=["active", "inactive", "error"]), name="ck_devices_status"),
            models.CheckConstraint(condition=~Q(parent=F("id")), name="ck_devices_parent"),
        ]
        indexes = [
            models.Index(fields=["device_type"], name="idx_device_type"),
            models.Index(fields=["owner"], name="idx_devices_user_id"),
            models.Index(fields=["status", "last_seen"], name="idx_device_status_last_seen"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.serial_number})"

    def clean(self):
        """A gateway and what reports through it have one owner, and nothing reports through itself."""
        if not isinstance(self.metadata, dict):
            raise ValidationError({"metadata": "A JSON object is required."})
        if Device.objects.filter(pk=self.parent_id).exclude(owner=self.owner_id).exists():
            raise ValidationError({"parent": "The gateway has to be of the same owner."})
        if lies_within_itself(self):
            raise ValidationError({"parent": "A device can't report through itself."})
        if not self._state.adding and self.children.exclude(owner=self.owner_id).exists():
            raise ValidationError({"owner": "Other devices of the present owner report through this one."})


class DeviceMetric(models.Model):
    """A series: one metric of one device. Unit and range override those of metric and device type."""

    id = models.AutoField(primary_key=True)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="metrics", db_index=False)
    metric = models.ForeignKey(Metric, on_delete=models.PROTECT, related_name="bindings", db_index=False)
    unit = models.CharField(max_length=50, blank=True)
    min_value = models.FloatField(null=True, blank=True)
    max_value = models.FloatField(null=True, blank=True)
    is_watched = models.BooleanField(default=False, editable=False, help_text="Some enabled rule judges this series.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "device_metrics"
        constraints = [
            models.UniqueConstraint(
                fields=["device", "metric"],
                name="uq_device_metric",
                violation_error_message="This metric is already bound to the device.",
            ),
            models.CheckConstraint(
                condition=Q(min_value__isnull=True) | Q(max_value__isnull=True) | Q(min_value__lte=F("max_value")),
                name="ck_device_metrics_range",
                violation_error_message="min_value must not exceed max_value.",
            ),
        ]
        indexes = [models.Index(fields=["metric"], name="idx_device_metrics_metric")]

    def __str__(self) -> str:
        return f"{self.metric} of {self.device}"


class DeviceKeyQuerySet(models.QuerySet):
    def usable(self, *, now: datetime):
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
        return self.filter(unexpired, revoked_at__isnull=True, owner__is_active=True)


class DeviceKey(models.Model):
    """A secret that a device or gateway sends. Only its hash is kept.

    A 256-bit random secret needs no slow password hash: nobody can guess it, and ingest checks it with
    every request.
    """

    PREFIX = "iot_"

    class Scope(models.TextChoices):
        DEVICE = "device", "One device"
        OWNER = "owner", "All devices of its owner"

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="device_keys")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100, blank=True)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.DEVICE)
    prefix = models.CharField(max_length=12, editable=False, help_text="How the key begins, to tell keys apart.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    messages_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Messages a minute that this key may send. Empty: as the hub is set up, 0: no limit.",
    )
    readings_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Readings a minute that this key may send. Empty: as the hub is set up, 0: no limit.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceKeyQuerySet.as_manager()

    class Meta:
        db_table = "device_keys"
        constraints = [models.CheckConstraint(condition=Q(scope__in=["device", "owner"]), name="ck_device_keys_scope")]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}".strip()

    @classmethod
    def new_secret(cls) -> str:
        return cls.PREFIX + secrets.token_urlsafe(32)

    @staticmethod
    def digest_of(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()


class DeviceCommand(models.Model):
    """Something that a device is to do. Delivered at least once; the id tells repeats apart."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        DELIVERED = "delivered", "Delivered"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="commands", db_index=False)
    name = models.CharField(max_length=100)
    params = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    result = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "device_commands"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["queued", "delivered", "completed", "failed", "expired"]),
                name="ck_device_commands_status",
            )
        ]
        indexes = [
            models.Index(fields=["device", "-created_at"], name="idx_device_commands_device"),
            # What a polling device asks for.
            models.Index(
                fields=["device", "created_at"],
                name="idx_device_commands_open",
                condition=Q(status__in=["queued", "delivered"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} → {self.device_id}"


class CatalogChange(models.Model):
    """What changed in devices, metrics, bindings and keys, for the caches of the ingest processes.

    Written by triggers, so that changes by `QuerySet.update` and by psql count too. Readers ask for rows
    whose transaction had not ended when they last looked (`xid`), so none is missed whatever the order
    of commits. A row without a device means: forget everything.
    """

    id = models.BigAutoField(primary_key=True)
    xid = models.BigIntegerField()
    device_id = models.UUIDField(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "catalog_changes"
        indexes = [models.Index(fields=["xid"], name="idx_catalog_changes_xid")]

    def __str__(self) -> str:
        return f"{self.device_id or 'everything'} in {self.xid}"
