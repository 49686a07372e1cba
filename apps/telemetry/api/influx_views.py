"""What clients of InfluxDB call: they write, and ask whether somebody is there."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from apps.telemetry.api.ingest import take_in
from apps.telemetry.ingest.formats.line_protocol import CODES, V1_UNITS, V2_UNITS, LineProtocol

# Clients choose by it which of InfluxDB's interfaces they use.
VERSION_HEADERS = {"X-Influxdb-Version": "2.0.0", "X-Influxdb-Build": "iot-hub"}


class LineRejectionSerializer(serializers.Serializer):
    line = serializers.IntegerField()
    metric = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class WriteErrorSerializer(serializers.Serializer):
    """`error` repeats `message`, for clients of InfluxDB 1."""

    code = serializers.ChoiceField(list(CODES.values()))
    message = serializers.CharField()
    error = serializers.CharField()
    rejected = LineRejectionSerializer(many=True, required=False, help_text="The first 100.")


class _Write(APIView):
    """The web server's ASGI application answers POST ahead of Django, by the same service."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def perform_content_negotiation(self, request, force=True):
        """Whatever a client would accept: there is one form of answer."""
        return super().perform_content_negotiation(request, force=True)


class WriteView(_Write):
    @extend_schema(
        operation_id="line_protocol_write",
        tags=["telemetry"],
        summary="Post readings as line protocol",
        description="As InfluxDB 2 takes it, optionally gzip. The device is the tag `serial_number`, `sensor_id` or "
        "`device`, each field is a metric; same points overwrite. Answers after the commit: 204 all stored, "
        "400 nothing written (the first bad line is named), 422 some readings rejected and the rest stored, "
        "401, 403, 413, 415 (an encoding other than gzip), 429, 503 with Retry-After. "
        "`/write` takes the same as InfluxDB 1 does.",
        parameters=[
            OpenApiParameter("precision", enum=list(V2_UNITS), default="ns", description="Of the timestamps."),
            OpenApiParameter("bucket", description="Ignored."),
            OpenApiParameter("org", description="Ignored."),
        ],
        request={"text/plain": OpenApiTypes.STR},
        examples=[
            OpenApiExample(
                "one point",
                "vibration,serial_number=VIB-SN-001 vibration=5.2,temperature=45.3 1795219200000000000",
                media_type="text/plain",
                request_only=True,
            )
        ],
        responses={204: None, "default": WriteErrorSerializer},
        auth=[{"deviceKey": []}, {"jwtAuth": []}],
    )
    def post(self, request):
        return take_in(request._request, LineProtocol(request.query_params.get("precision", "")))


class V1WriteView(_Write):
    @extend_schema(exclude=True)
    def post(self, request):
        form = LineProtocol(request.query_params.get("precision", ""), V1_UNITS)
        return take_in(request._request, form, key_in_query=True)


@require_safe
def ping(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204, headers=VERSION_HEADERS)


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """In InfluxDB's form; `/readyz` looks at more."""
    passes = _store_is_there()
    body = {
        "name": "iot-hub",
        "status": "pass" if passes else "fail",
        "message": "ready for writes" if passes else "the store is away",
        "checks": [],
    }
    return JsonResponse(body, status=200 if passes else 503, headers=VERSION_HEADERS)


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    if _store_is_there():
        return JsonResponse({"status": "ready"}, headers=VERSION_HEADERS)
    return JsonResponse({"code": "unavailable", "message": "The store is away."}, status=503)


def _store_is_there() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
