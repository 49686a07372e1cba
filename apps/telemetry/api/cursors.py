"""Cursors: a signed place between two rows, and the direction in which the page goes from there."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core import signing
from rest_framework import serializers
from rest_framework.utils.urls import replace_query_param

from apps.telemetry.reads.pages import Place

SALT = "telemetry.cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    place: Place
    backwards: bool

    def __str__(self) -> str:
        place = self.place
        return signing.dumps([place.at.isoformat(), str(place.device), place.series, self.backwards], salt=SALT)


class CursorField(serializers.CharField):
    def to_internal_value(self, data) -> Cursor:
        try:
            at, device, series, backwards = signing.loads(super().to_internal_value(data), salt=SALT)
            return Cursor(Place(datetime.fromisoformat(at), UUID(device), series), backwards)
        except (signing.BadSignature, ValueError, TypeError):
            raise serializers.ValidationError("This cursor is not one of ours.") from None


def links(request, *, first: Place | None, last: Place | None, is_full: bool, cursor: Cursor | None) -> dict:
    """`next` and `previous` of the page between two places; an empty page leads nowhere.

    What a page was reached from is there; on its other side there is more if the page is full.
    """
    backwards = cursor is not None and cursor.backwards
    follows = last is not None and (is_full or backwards)
    precedes = first is not None and cursor is not None and (is_full or not backwards)
    return {
        "next": _url(request, Cursor(last, backwards=False)) if follows else None,
        "previous": _url(request, Cursor(first, backwards=True)) if precedes else None,
    }


def _url(request, cursor: Cursor) -> str:
    return replace_query_param(request.build_absolute_uri(), "cursor", str(cursor))
