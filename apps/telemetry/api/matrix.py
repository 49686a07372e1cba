"""GET /api/v1/telemetry/matrix/."""

import io
import re
from datetime import timedelta

import numpy as np
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.views import APIView

from apps.telemetry.aggregates.gaps import Fill
from apps.telemetry.aggregates.statements import FUNCTIONS
from apps.telemetry.api.asked import ReadingQuerySerializer, asked_by, filter_of, series_of
from apps.telemetry.api.documents import json_response
from apps.telemetry.api.export import FirstRenderer
from apps.telemetry.export.forms import CONTENT_TYPES, Form
from apps.telemetry.matrix.windows import Resampling, newest, numeric, resampled

MAX_SERIES = 2000
MAX_CELLS = 1_000_000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class StepField(serializers.CharField):
    """A number and a unit: 10s, 5m, 1h, 1d."""

    def to_internal_value(self, data) -> timedelta:
        match = re.fullmatch(r"([1-9]\d{0,6})([smhd])", super().to_internal_value(data))
        if not match:
            raise serializers.ValidationError("A number and a unit are required, such as 10s, 5m, 1h or 1d.")
        return timedelta(seconds=int(match[1]) * UNITS[match[2]])


class MatrixQuerySerializer(ReadingQuerySerializer):
    """Either `last`, or `start`, `end` and `step`."""

    last = serializers.IntegerField(
        required=False, min_value=1, max_value=10_000, help_text="The last so many readings of each series."
    )
    step = StepField(required=False, help_text="Resampled to steps from start on, such as 10s, 5m, 1h or 1d.")
    function = serializers.ChoiceField(FUNCTIONS, default="avg", help_text="Of the readings within a step.")
    fill = serializers.ChoiceField(["none", "previous", "linear"], default="none", help_text="Of steps without any.")
    format = serializers.ChoiceField(
        ["json", "parquet"], default="json", help_text="Parquet has a column for each series; with step only."
    )

    def validate(self, attrs):
        if ("last" in attrs) == ("step" in attrs):
            raise serializers.ValidationError({"step": "Either last or step is required."})
        if "last" in attrs and attrs["format"] == "parquet":
            raise serializers.ValidationError({"format": "Series have times of their own with last; ask for a step."})
        if "step" in attrs:
            if "start" not in attrs:
                raise serializers.ValidationError({"start": "Required with step."})
            if not filter_of(attrs | {"start": None, "end": None}).is_of_time_only:
                raise serializers.ValidationError({"step": "Filters by value or quality go with last only."})
            attrs.setdefault("end", max(timezone.now(), attrs["start"]))
        return super().validate(attrs)


class MatrixSeriesSerializer(serializers.Serializer):
    device = serializers.UUIDField()
    serial_number = serializers.CharField()
    metric = serializers.CharField()
    unit = serializers.CharField()


class MatrixSerializer(serializers.Serializer):
    """`values[i]` are those of `series[i]`, oldest first, null where there is none; truths are 1 and 0."""

    series = MatrixSeriesSerializer(many=True)
    timestamps = serializers.JSONField(
        help_text="With step: when steps begin. With last: a list for each series, null before its first reading."
    )
    values = serializers.ListField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))
    left_out = MatrixSeriesSerializer(many=True, help_text="Series of texts.")


class MatrixView(APIView):
    content_negotiation_class = FirstRenderer

    @extend_schema(
        operation_id="telemetry_matrix",
        summary="Many series as a matrix",
        description="The last readings of each series, or all series resampled to the same steps. "
        "At most 2,000 series and 1,000,000 values; `manage.py export_training_set` has no limit.",
        parameters=[MatrixQuerySerializer],
        responses={
            (200, "application/json"): MatrixSerializer,
            (200, CONTENT_TYPES[Form.PARQUET]): OpenApiTypes.BINARY,
        },
    )
    def get(self, request):
        asked = asked_by(request, MatrixQuerySerializer)
        series, left_out = numeric(series_of(request, asked, at_most=MAX_SERIES, with_device=True))
        if "last" in asked:
            _refuse_too_many(asked["last"], series)
            times, matrix = newest(series, asked["last"], filter_of(asked))
        else:
            window = Resampling(
                fill=Fill(asked["fill"]), **{name: asked[name] for name in ("start", "end", "step", "function")}
            )
            _refuse_too_many(window.count, series)
            times, matrix = resampled(series, window)
        if asked["format"] == "parquet":
            return _file(series, times, matrix)
        return json_response(
            {
                "series": [_named(one) for one in series],
                "timestamps": times,
                "values": np.where(np.isnan(matrix), None, matrix).tolist(),
                "left_out": [_named(one) for one in left_out],
            }
        )


def _refuse_too_many(columns: int, series: list) -> None:
    if columns * len(series) > MAX_CELLS:
        raise ValidationError(
            {"step": f"These are {columns:,} values of {len(series):,} series, more than {MAX_CELLS:,} in all."}
        )


def _file(series: list, times: list, matrix: np.ndarray) -> HttpResponse:
    from apps.telemetry.matrix.files import write_matrix  # with pyarrow, 50 MB that JSON doesn't need

    body = io.BytesIO()
    write_matrix(body, series, times, matrix)
    return HttpResponse(
        body.getvalue(),
        content_type=CONTENT_TYPES[Form.PARQUET],
        headers={"Content-Disposition": 'attachment; filename="matrix.parquet"'},
    )


def _named(one) -> dict:
    return {
        "device": one.device_id,
        "serial_number": one.device.serial_number,
        "metric": one.metric.name,
        "unit": one.unit or one.metric.unit,
    }
