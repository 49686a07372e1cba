from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from apps.telemetry import queries
from apps.telemetry.api.ingest import take_in
from apps.telemetry.api.serializers import (
    LatestQuerySerializer,
    MessageSerializer,
    ReadingPageSerializer,
    ReadingSerializer,
    ReceiptSerializer,
    SeriesQuerySerializer,
    cursor_after,
)
from apps.telemetry.ingest.formats.json_messages import JsonMessages

MAX_SERIES = 10_000


class TelemetryView(APIView):
    """GET reads stored readings; POST takes new ones.

    The web server's ASGI application answers POST ahead of Django; this is the same service for everything
    that goes through Django (runserver, the test client, the schema).
    """

    def get_authenticators(self):
        return [] if self._is_ingest() else super().get_authenticators()

    def get_permissions(self):
        return [AllowAny()] if self._is_ingest() else [IsAuthenticated()]

    @extend_schema(
        operation_id="telemetry_list",
        parameters=[SeriesQuerySerializer],
        responses=ReadingPageSerializer,
    )
    def get(self, request):
        query = SeriesQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        named = {f"{name}s": [asked[name]] for name in ("device", "metric") if name in asked}
        series = queries.visible_series(user=request.user, **named)
        if not series and "device" in asked and "metric" not in asked:
            raise NotFound("There is no such device, or nothing was measured on it yet.")
        readings = queries.newest_readings(
            series=series,
            limit=asked["limit"],
            start=asked.get("start"),
            end=asked.get("end"),
            before=asked.get("cursor"),
        )
        return Response(_page(request, readings, asked["limit"]))

    @extend_schema(
        operation_id="telemetry_ingest",
        summary="Post readings",
        description="One message or an array of them, optionally gzip. Answers after the commit: 201 all stored, "
        "207 some rejected, 400 nothing stored, 401, 403, 413, 415, 429, 503 with Retry-After. "
        "Authorization: `Token <device key>`, or a person's `Bearer <access token>`.",
        parameters=[OpenApiParameter("on_conflict", enum=["ignore", "overwrite"], description="What a repeat does.")],
        request=MessageSerializer(many=True),
        responses={201: ReceiptSerializer, 207: ReceiptSerializer},
        auth=[{"deviceKey": []}, {"jwtAuth": []}],
    )
    def post(self, request):
        return take_in(request._request, JsonMessages())

    def _is_ingest(self) -> bool:
        return self.request is not None and self.request.method == "POST"


class LatestView(APIView):
    @extend_schema(
        operation_id="telemetry_latest",
        summary="Newest readings",
        description="The newest reading of each metric of the devices asked for, sorted by serial number and metric. "
        "None is older than what had been acknowledged 2 seconds before the request came in; "
        "as a rule it is at most 0.1 seconds behind. At most 10,000 series at once.",
        parameters=[LatestQuerySerializer],
        responses=ReadingPageSerializer,
    )
    def get(self, request):
        query = LatestQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        devices, metrics = query.validated_data["device"], query.validated_data["metric"]
        series = queries.visible_series(user=request.user, devices=devices, metrics=metrics, limit=MAX_SERIES + 1)
        if not series and devices and not metrics:
            raise NotFound("There is no such device, or nothing was measured on it yet.")
        if len(series) > MAX_SERIES:
            raise ValidationError({"device": f"These are more than {MAX_SERIES} series; ask for fewer devices."})
        readings = queries.latest_readings(series=series)
        return Response({"next": None, "previous": None, "results": ReadingSerializer(readings, many=True).data})


def _page(request, readings: list, limit: int) -> dict:
    following = None
    if len(readings) == limit:
        url = request.build_absolute_uri()
        following = replace_query_param(url, "cursor", cursor_after(readings[-1]))
    return {"next": following, "previous": None, "results": ReadingSerializer(readings, many=True).data}
