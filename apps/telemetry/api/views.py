from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from apps.telemetry import queries
from apps.telemetry.api.serializers import (
    MessageSerializer,
    ReadingPageSerializer,
    ReadingSerializer,
    ReceiptSerializer,
    SeriesQuerySerializer,
    cursor_after,
)
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.http import Request, service


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
        series = queries.visible_series(user=request.user, device=asked.get("device"), metric=asked.get("metric"))
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
        plain = request._request
        future = service.start(
            Request(
                format=JsonMessages(),
                # One byte over the limit is enough to know; the rest need not be held.
                body=plain.read(settings.TELEMETRY["MAX_BODY_BYTES"] + 1),
                authorization=plain.headers.get("Authorization", ""),
                content_type=plain.content_type or "",
                content_encoding=plain.headers.get("Content-Encoding", ""),
                on_conflict=plain.GET.get("on_conflict", ""),
            ),
            may_block=True,
        )
        answer = future.result()
        return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type, headers=answer.headers)

    def _is_ingest(self) -> bool:
        return self.request is not None and self.request.method == "POST"


def _page(request, readings: list, limit: int) -> dict:
    following = None
    if len(readings) == limit:
        url = request.build_absolute_uri()
        following = replace_query_param(url, "cursor", cursor_after(readings[-1]))
    return {"next": following, "previous": None, "results": ReadingSerializer(readings, many=True).data}
