"""GET /api/v1/telemetry/aggregate/."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.views import APIView

from apps.telemetry.aggregates.gaps import Fill
from apps.telemetry.aggregates.grid import WIDTHS, Grid, estimated_count, grid_of
from apps.telemetry.aggregates.query import Aggregation, aggregate
from apps.telemetry.aggregates.statements import FUNCTIONS
from apps.telemetry.api.asked import ReadingQuerySerializer, asked_by, filter_of, series_of
from apps.telemetry.api.documents import json_response

MAX_POINTS = 100_000
MAX_SERIES = 2000
AUTO = "auto"


class ZoneField(serializers.CharField):
    def to_internal_value(self, data) -> ZoneInfo:
        try:
            return ZoneInfo(super().to_internal_value(data))
        except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError, names of folders are OSErrors
            raise serializers.ValidationError("An IANA time zone is required, such as Europe/Berlin.") from None
        except KeyError:
            raise serializers.ValidationError("There is no time zone of this name.") from None


class FunctionsField(serializers.CharField):
    """Names with commas between them."""

    def to_internal_value(self, data) -> list[str]:
        names = list(dict.fromkeys(name.strip() for name in super().to_internal_value(data).split(",")))
        if unknown := [name for name in names if name not in FUNCTIONS]:
            raise serializers.ValidationError(
                f"Not a function: {', '.join(unknown)}. There are: {', '.join(FUNCTIONS)}."
            )
        return names


class AggregateQuerySerializer(ReadingQuerySerializer):
    """`start` ≤ t < `end`."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField(required=False, help_text="Now, if left out.")
    bucket = serializers.ChoiceField([*WIDTHS, AUTO], default=AUTO)
    max_points = serializers.IntegerField(
        min_value=1, max_value=10_000, default=500, help_text="With bucket=auto: the most points of a series."
    )
    functions = FunctionsField(
        required=False, help_text=f"With commas between: {', '.join(FUNCTIONS)}. If left out: avg,min,max,count."
    )
    timezone = ZoneField(
        required=False, help_text="IANA name: whose days, weeks and months these are. UTC, if left out."
    )
    fill = serializers.ChoiceField(
        [fill.value for fill in Fill], default=Fill.NONE, help_text="What buckets without readings have."
    )

    def validate(self, attrs):
        attrs.setdefault("timezone", ZoneInfo("UTC"))
        attrs.setdefault("functions", ["avg", "min", "max", "count"])
        attrs.setdefault("end", max(timezone.now(), attrs["start"]))
        return super().validate(attrs)


class PointSerializer(serializers.Serializer):
    """A bucket; it has a field for each function asked for."""

    bucket = serializers.DateTimeField(help_text="When it begins, in the time zone asked for.")
    avg = serializers.FloatField(required=False, allow_null=True, help_text="Of truths: the share of readings true.")
    min = serializers.FloatField(required=False, allow_null=True)
    max = serializers.FloatField(required=False, allow_null=True)
    sum = serializers.FloatField(required=False, allow_null=True)
    first = serializers.JSONField(required=False, allow_null=True)
    last = serializers.JSONField(required=False, allow_null=True)
    stddev = serializers.FloatField(required=False, allow_null=True, help_text="Of the sample.")
    p50 = serializers.FloatField(required=False, allow_null=True)
    p90 = serializers.FloatField(required=False, allow_null=True)
    p95 = serializers.FloatField(required=False, allow_null=True)
    p99 = serializers.FloatField(required=False, allow_null=True)
    count = serializers.IntegerField()
    coverage = serializers.FloatField(
        allow_null=True, help_text="0 to 1: readings × usual interval ÷ length of bucket."
    )
    partial = serializers.BooleanField(required=False, help_text="It reaches beyond start or end, or is not over yet.")


class AggregatedSeriesSerializer(serializers.Serializer):
    device = serializers.UUIDField()
    metric = serializers.CharField()
    unit = serializers.CharField()
    source = serializers.CharField()
    interval_seconds = serializers.FloatField(allow_null=True, help_text="The usual interval that coverage rests on.")
    points = PointSerializer(many=True)


class AggregateSerializer(serializers.Serializer):
    bucket = serializers.CharField()
    timezone = serializers.CharField()
    source = serializers.CharField(help_text="The coarsest that was used: raw, hourly or daily.")
    series = AggregatedSeriesSerializer(many=True)


class AggregateView(APIView):
    @extend_schema(
        operation_id="telemetry_aggregate",
        summary="Readings by buckets of time",
        description="Days, weeks (from Monday) and months are those of the time zone, however long they are. Rollups "
        "answer where they are exact, readings elsewhere and for percentiles and filters by value or quality. "
        "At most 2,000 series and 100,000 points at once.",
        parameters=[AggregateQuerySerializer],
        responses=AggregateSerializer,
    )
    def get(self, request):
        asked = asked_by(request, AggregateQuerySerializer)
        series = series_of(request, asked, at_most=MAX_SERIES)
        bucket, grid = _grid(asked, len(series))
        source, answers = aggregate(
            Aggregation(
                series=series,
                grid=grid,
                zone=asked["timezone"],
                functions=asked["functions"],
                fill=Fill(asked["fill"]),
                where=filter_of(asked),
            ),
            now=datetime.now(UTC),
        )
        zone = asked["timezone"].key
        return json_response({"bucket": bucket, "timezone": zone, "source": source, "series": answers})


def _grid(asked: dict, series: int) -> tuple[str, Grid]:
    """The bucket, chosen if it is to be, and where its edges are."""
    times = {"start": asked["start"], "end": asked["end"]}
    for bucket in _candidates(asked):
        if estimated_count(bucket, **times) > 1.1 * MAX_POINTS:
            continue
        grid = grid_of(bucket=bucket, zone=asked["timezone"], **times)
        points = len(grid.buckets)
        if points * max(1, series) <= MAX_POINTS and (asked["bucket"] != AUTO or points <= asked["max_points"]):
            return bucket, grid
    raise ValidationError(
        {"bucket": f"These are more than {MAX_POINTS} points of {series} series; ask for larger buckets or less."}
    )


def _candidates(asked: dict) -> list[str]:
    if asked["bucket"] != AUTO:
        return [asked["bucket"]]
    times = asked["start"], asked["end"]
    # Two more, as the first and the last bucket may reach beyond.
    return [bucket for bucket in WIDTHS if estimated_count(bucket, *times) <= asked["max_points"] + 2]
