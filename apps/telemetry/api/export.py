"""GET /api/v1/telemetry/export/."""

from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.views import APIView

from apps.telemetry.api.asked import ReadingQuerySerializer, asked_by, filter_of, series_of
from apps.telemetry.export.forms import CONTENT_TYPES, Form, Order
from apps.telemetry.export.streaming import AsyncStreamed, Busy, Running, Streamed

MAX_SERIES = 1_000_000
RETRY_AFTER = 10  # seconds


class ExportQuerySerializer(ReadingQuerySerializer):
    """`start` ≤ t < `end`."""

    format = serializers.ChoiceField([form.value for form in Form], default=Form.CSV)
    compression = serializers.ChoiceField(
        ["none", "gzip"], default="none", help_text="gzip gives a .gz file; Parquet is compressed in itself."
    )


class FirstRenderer(BaseContentNegotiation):
    """`format` is ours here, and no name of a renderer; errors are JSON whatever the client accepts."""

    def select_parser(self, request, parsers):
        return parsers[0]

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


class ExportView(APIView):
    content_negotiation_class = FirstRenderer

    @extend_schema(
        operation_id="telemetry_export",
        summary="All readings as a file",
        description="Streamed, without a limit on rows, sorted by serial number, metric and time. "
        "Columns: device, serial_number, metric, timestamp, value, quality, received_at; Parquet has value, value_bool "
        "and value_text. Compressed on the way if the client accepts gzip. 429 while too many exports are running.",
        parameters=[ExportQuerySerializer],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
            429: OpenApiResponse(description="Too many exports are running; Retry-After says when to come back."),
        },
    )
    def get(self, request):
        asked = asked_by(request, ExportQuerySerializer)
        series = series_of(request, asked, at_most=MAX_SERIES, with_device=True)
        form = Form(asked["format"])
        as_file = asked["compression"] == "gzip" and form is not Form.PARQUET
        on_the_way = not as_file and form is not Form.PARQUET and _accepts_gzip(request)
        try:
            export = _kind_for(request)(Order(series, filter_of(asked), form), gzip=as_file or on_the_way)
        except Busy:
            raise Throttled(RETRY_AFTER, "Too many exports are running.") from None
        return _response(export, form, as_file=as_file, on_the_way=on_the_way)


def _kind_for(request) -> type[Running]:
    return AsyncStreamed if isinstance(request._request, ASGIRequest) else Streamed


def _response(export: Running, form: Form, *, as_file: bool, on_the_way: bool) -> StreamingHttpResponse:
    response = StreamingHttpResponse(
        export,
        content_type="application/gzip" if as_file else CONTENT_TYPES[form],
    )
    name = f"telemetry.{form}{'.gz' if as_file else ''}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Vary"] = "Accept-Encoding"
    if on_the_way:
        response["Content-Encoding"] = "gzip"
    return response


def _accepts_gzip(request) -> bool:
    offers = [offer.strip().partition(";") for offer in request.headers.get("Accept-Encoding", "").split(",")]
    return any(name == "gzip" and quality.replace(" ", "") not in ("q=0", "q=0.0") for name, _, quality in offers)
