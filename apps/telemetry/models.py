from uuid import UUID
from zlib import crc32

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.devices.models import DeviceMetric


class RealField(models.FloatField):
    """A four-byte float: quality needs no more, and a reading is stored a billion times."""

    def db_type(self, connection):
        return "real"


class Reading(models.Model):
    """One stored value. The key is the natural one: a series has one reading at a time.

    Columns stand in the order that wastes no padding. The foreign key is not enforced by the database:
    a check per row would cost more than the row. Deleting a device deletes its readings in the service.
    """

    pk = models.CompositePrimaryKey("device_metric_id", "ts")
    ts = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    value_numeric = models.FloatField(null=True)
    device_metric = models.ForeignKey(
        DeviceMetric, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    quality = RealField(db_default=1.0)
    value_bool = models.BooleanField(null=True)
    value_str = models.TextField(null=True)  # noqa: DJ001 - null says that the value is of another type

    class Meta:
        db_table = "telemetry"
        constraints = [
            models.CheckConstraint(
                condition=(
                    Q(value_numeric__isnull=False, value_bool__isnull=True, value_str__isnull=True)
                    | Q(value_numeric__isnull=True, value_bool__isnull=False, value_str__isnull=True)
                    | Q(value_numeric__isnull=True, value_bool__isnull=True, value_str__isnull=False)
                ),
                name="ck_telemetry_one_value",
            )
        ]

    def __str__(self) -> str:
        return f"{self.device_metric_id} at {self.ts:%Y-%m-%d %H:%M:%S}: {self.value}"

    @property
    def value(self) -> float | bool | str:
        if self.value_numeric is not None:
            return self.value_numeric
        return self.value_bool if self.value_bool is not None else self.value_str


class WatchedBatch(models.Model):
    """Readings that some rule watches, committed together with them: the outbox of rule evaluation.

    `payload` is MessagePack: `[device_metric_ids, timestamps in µs since 1970, values]`, three arrays of one
    length. All series of a device share a `shard`, and a shard is judged by one worker at a time, in the
    order of `id`. A batch that can't be judged keeps the `error` and lets the others pass.
    """

    SHARDS = 16

    id = models.BigAutoField(primary_key=True)
    shard = models.SmallIntegerField()
    payload = models.BinaryField()
    error = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "watched_batches"
        verbose_name_plural = "watched batches"
        indexes = [models.Index(fields=["shard", "id"], name="idx_watched_batches_shard", condition=Q(error=""))]

    def __str__(self) -> str:
        return f"batch {self.pk} of shard {self.shard}"

    @classmethod
    def shard_of(cls, device_id: UUID) -> int:
        return crc32(device_id.bytes) % cls.SHARDS


class Invalidation(models.Model):
    """Hours of a series whose rollup is out of date: from `start_at` (an hour) until before `end_at`.

    Written by the transaction that changed the readings, taken away by the one that recomputes the hours.
    Only hours before `RollupState.threshold` are written down; those after it are always computed afresh.
    """

    id = models.BigAutoField(primary_key=True)
    device_metric_id = models.IntegerField()
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()

    class Meta:
        db_table = "telemetry_invalidations"
        indexes = [models.Index(fields=["device_metric_id", "start_at"], name="idx_invalidations_series")]

    def __str__(self) -> str:
        return f"{self.device_metric_id} from {self.start_at} to {self.end_at}"


class RollupState(models.Model):
    """How far the rollups have come, where the hub keeps them itself. One row, or none before the first refresh.

    Hours before `watermark` are in the tables, those after it are computed when they are read. `threshold` is never
    before the watermark: changes to hours before it are written down. Readings before `raw_from` and hours before
    `hours_from` have been dropped, so what was made of them can't be recomputed. All are full hours.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    threshold = models.DateTimeField()
    watermark = models.DateTimeField()
    raw_from = models.DateTimeField()
    hours_from = models.DateTimeField()

    class Meta:
        db_table = "telemetry_rollup_state"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="ck_rollup_state_one_row")]

    def __str__(self) -> str:
        return f"refreshed to {self.watermark}"
