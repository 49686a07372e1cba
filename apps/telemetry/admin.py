"""Readings have a composite key, which Django's admin does not take; the outbox of the rules can be seen."""

import msgspec
from django.contrib import admin
from django.utils import timezone
from django.utils.timesince import timesince
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.telemetry.models import WatchedBatch


@admin.register(WatchedBatch)
class WatchedBatchAdmin(ModelAdmin):
    """On a healthy hub this list is empty or a few seconds old."""

    list_display = ["id", "shard", "age", "readings", "error"]
    list_filter = ["shard"]
    ordering = ["id"]
    fields = ["shard", "created_at", "age", "readings", "error"]

    @display(description="Waits since")
    def age(self, batch):
        return timesince(batch.created_at, timezone.now())

    @display(description="Readings")
    def readings(self, batch):
        return len(msgspec.msgpack.decode(batch.payload)[0])

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
