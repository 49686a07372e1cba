"""The way of an ingest request that comes through Django: the same service as that of the fast edge."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from apps.telemetry.ingest.formats import Format
from apps.telemetry.ingest.http import Request, authorization_of, service


def take_in(request: HttpRequest, form: Format, *, key_in_query: bool = False) -> HttpResponse:
    query = request.GET.dict()
    answer = service.respond(
        Request(
            format=form,
            # One byte over the limit is enough to know; the rest need not be held.
            body=request.read(settings.TELEMETRY["MAX_BODY_BYTES"] + 1),
            authorization=authorization_of(request.headers.get("Authorization", ""), query if key_in_query else {}),
            content_type=request.content_type or "",
            content_encoding=request.headers.get("Content-Encoding", ""),
            on_conflict=query.get("on_conflict", ""),
        )
    )
    kind = {"Content-Type": answer.content_type} if answer.content_type else {}
    return HttpResponse(answer.body, status=answer.status, headers=kind | answer.headers)
