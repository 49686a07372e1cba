"""What a reader asks for: query parameters of the telemetry reads, and the series that they name."""

import math
from dataclasses import fields

from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError

from apps.devices.models import DeviceMetric
from apps.telemetry import queries
from apps.telemetry.api.cursors import CursorField
from apps.telemetry.reads.filters import ReadingFilter

MAX_SERIES = 10_000


class NumberField(serializers.FloatField):
    def to_internal_value(self, data):
        number = super().to_internal_value(data)
        if not math.isfinite(number):
            raise serializers.ValidationError("A finite number is required.")
        return number


class SeriesQuerySerializer(serializers.Serializer):
    device = serializers.ListField(
        child=serializers.CharField(), max_length=1000, default=list, help_text="Ids or serial numbers; all, if none."
    )
    metric = serializers.ListField(child=serializers.CharField(), max_length=100, default=list)


class ReadingQuerySerializer(SeriesQuerySerializer):
    """`start` ≤ t < `end`."""

    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)
    value = serializers.CharField(required=False, help_text="A number, true or false, or a text.")
    value_gt = NumberField(required=False)
    value_gte = NumberField(required=False)
    value_lt = NumberField(required=False)
    value_lte = NumberField(required=False)
    quality_gte = NumberField(required=False)

    def validate_value(self, value):
        if "\0" in value:
            raise serializers.ValidationError("Null characters are not allowed.")
        return value

    def validate(self, attrs):
        if attrs.get("start") and attrs.get("end") and attrs["start"] >= attrs["end"]:
            raise serializers.ValidationError({"end": "Must be after start."})
        return attrs


class PageQuerySerializer(ReadingQuerySerializer):
    order = serializers.ChoiceField(["desc", "asc"], default="desc", help_text="Newest first, or oldest first.")
    limit = serializers.IntegerField(min_value=1, max_value=10_000, default=100)
    cursor = CursorField(required=False, help_text="From `next` or `previous`.")


class MessagePageQuerySerializer(PageQuerySerializer):
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)


def asked_by(request, serializer: type[serializers.Serializer]) -> dict:
    query = serializer(data=request.query_params)
    query.is_valid(raise_exception=True)
    return query.validated_data


def filter_of(asked: dict) -> ReadingFilter:
    return ReadingFilter(**{field.name: asked[field.name] for field in fields(ReadingFilter) if field.name in asked})


def series_of(request, asked: dict, *, at_most: int = MAX_SERIES, with_device: bool = False) -> list[DeviceMetric]:
    """The series named that the user may read. None at all of named devices: there are no such devices for them."""
    devices, metrics = asked["device"], asked["metric"]
    series = queries.visible_series(
        user=request.user, devices=devices, metrics=metrics, limit=at_most + 1, with_device=with_device
    )
    if not series and devices and not metrics:
        raise NotFound("There is no such device, or nothing was measured on it yet.")
    if len(series) > at_most:
        raise ValidationError({"device": f"These are more than {at_most} series; ask for fewer devices or metrics."})
    return series
