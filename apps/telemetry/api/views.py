from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.views import APIView

from apps.telemetry import queries
from apps.telemetry.api.asked import (
    MessagePageQuerySerializer,
    PageQuerySerializer,
    SeriesQuerySerializer,
    asked_by,
    filter_of,
    series_of,
)
from apps.telemetry.api.cursors import links
from apps.telemetry.api.documents import json_response, latest_rows, reading_rows
from apps.telemetry.api.ingest import take_in
from apps.telemetry.api.serializers import (
    MessageSerializer,
    ReadingPageSerializer,
    ReceiptSerializer,
    StoredMessagePageSerializer,
)
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.reads import messages
from apps.telemetry.reads.pages import Place, read_rows


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
        summary="Readings",
        description="Newest first, or oldest first, of all series asked for together.",
        parameters=[PageQuerySerializer],
        responses=ReadingPageSerializer,
    )
    def get(self, request):
        asked = asked_by(request, PageQuerySerializer)
        series = series_of(request, asked)
        rows = _page(asked, read_rows, series)
        devices = {one.pk: one.device_id for one in series}
        ends = [Place(row[1], devices[row[0]], row[0]) for row in (rows[0], rows[-1])] if rows else [None, None]
        around = links(
            request, first=ends[0], last=ends[1], is_full=len(rows) == asked["limit"], cursor=asked.get("cursor")
        )
        return json_response(around | {"results": reading_rows(rows, series)})

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
        parameters=[SeriesQuerySerializer],
        responses=ReadingPageSerializer,
    )
    def get(self, request):
        series = series_of(request, asked_by(request, SeriesQuerySerializer))
        readings = queries.latest_readings(series=series)
        return json_response({"next": None, "previous": None, "results": latest_rows(readings)})


class MessagesView(APIView):
    @extend_schema(
        operation_id="telemetry_messages",
        summary="Readings as messages",
        description="Readings of one device and time as one message, in the form in which devices post them.",
        parameters=[MessagePageQuerySerializer],
        responses=StoredMessagePageSerializer,
    )
    def get(self, request):
        asked = asked_by(request, MessagePageQuerySerializer)
        found = _page(asked, messages.read_messages, series_of(request, asked, with_device=True))
        ascending = asked["order"] == "asc"
        around = links(
            request,
            first=messages.place_before(found[0], ascending=ascending) if found else None,
            last=messages.place_after(found[-1], ascending=ascending) if found else None,
            is_full=len(found) == asked["limit"],
            cursor=asked.get("cursor"),
        )
        return json_response(around | {"results": [message.document() for message in found]})


def _page(asked: dict, read, series: list) -> list:
    """What `read` finds in the order asked for; a page before the cursor is read from its end."""
    cursor, ascending = asked.get("cursor"), asked["order"] == "asc"
    backwards = cursor is not None and cursor.backwards
    found = read(
        series=series,
        where=filter_of(asked),
        limit=asked["limit"],
        now=timezone.now(),
        ascending=ascending != backwards,
        after=cursor and cursor.place,
    )
    return found[::-1] if backwards else found
