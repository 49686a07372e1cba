from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.constraints import Conflict
from apps.events import bulk, queries, services
from apps.events.api.filters import EventFilter
from apps.events.api.serializers import (
    BulkSerializer,
    CommentSerializer,
    CountsSerializer,
    EventSerializer,
    OutcomeSerializer,
)
from apps.events.models import Event


@extend_schema(tags=["events"])
class EventViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """What happened, newest first. Rules open events; people acknowledge, resolve and discuss them."""

    queryset = Event.objects.none()
    serializer_class = EventSerializer
    filterset_class = EventFilter
    ordering = ("-timestamp", "-pk")
    lookup_value_converter = "int"

    def get_queryset(self):
        return queries.events_for(self.request.user)

    @extend_schema(request=None, responses=EventSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request, pk=None):
        """Take care of it. Repeating this changes nothing; 409 once the event is resolved."""
        event = self.get_object()
        try:
            services.acknowledge(event=event, user=request.user, now=timezone.now())
        except services.EventIsResolved as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(event).data)

    @extend_schema(request=None, responses=EventSerializer)
    @action(detail=True, methods=["post"])
    def resolve(self, request, pk=None):
        """Declare it over. Repeating this changes nothing."""
        event = self.get_object()
        services.resolve(event=event, user=request.user, now=timezone.now())
        return Response(self.get_serializer(event).data)

    @extend_schema(responses=CountsSerializer, filters=True)
    @action(detail=False, pagination_class=None)
    def counts(self, request):
        """How many events there are by status and severity, of those that the filters let through."""
        return Response(queries.counts(self.filter_queryset(self.get_queryset())))

    @extend_schema(
        operation_id="events_acknowledge_many", request=BulkSerializer, responses=OutcomeSerializer, filters=True
    )
    @action(detail=False, methods=["post"], url_path="acknowledge", url_name="acknowledge-many")
    def acknowledge_many(self, request):
        """Take care of many: those with the `ids`, those that the filters let through, or what is both."""
        return self._change_many(request, bulk.acknowledge)

    @extend_schema(
        operation_id="events_resolve_many", request=BulkSerializer, responses=OutcomeSerializer, filters=True
    )
    @action(detail=False, methods=["post"], url_path="resolve", url_name="resolve-many")
    def resolve_many(self, request):
        """Declare many over: those with the `ids`, those that the filters let through, or what is both."""
        return self._change_many(request, bulk.resolve)

    def _change_many(self, request, change) -> Response:
        serializer = BulkSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        ids = serializer.validated_data.get("ids")
        self._refuse_carelessness(request, ids)
        events = self.filter_queryset(self.get_queryset())
        if ids is not None:
            events = events.filter(pk__in=ids)
        try:
            outcome = change(events=events, asked=ids or (), user=request.user, now=timezone.now())
        except bulk.TooManyEvents as error:
            raise ValidationError({"ids": [str(error)]}, code="too_many") from error
        return Response(_told(outcome))

    def _refuse_carelessness(self, request, ids) -> None:
        """A mistyped filter would let everything through, and so would none at all."""
        known = set(self.filterset_class.base_filters)
        for name in request.query_params:
            if name not in known:
                raise ValidationError({name: ["There is no such filter."]}, code="unknown_filter")
        if ids is None and not any(request.query_params.values()):
            raise ValidationError({"ids": ["Name events by ids or by a filter."]}, code="required")

    @extend_schema(methods=["get"], responses=CommentSerializer(many=True))
    @extend_schema(methods=["post"], request=CommentSerializer, responses={201: CommentSerializer})
    @action(
        detail=True,
        methods=["get", "post"],
        serializer_class=CommentSerializer,
        filterset_class=None,
        ordering=("-created_at", "-pk"),
    )
    def comments(self, request, pk=None):
        """What people say about it, newest first."""
        event = self.get_object()
        if request.method == "GET":
            page = self.paginate_queryset(queries.comments_of(event))
            return self.get_paginated_response(self.get_serializer(page, many=True).data)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        body = serializer.validated_data["body"]
        comment = services.comment(event=event, user=request.user, body=body, now=timezone.now())
        return Response(self.get_serializer(comment).data, status=status.HTTP_201_CREATED)


def _told(outcome: bulk.Outcome) -> dict:
    refused = [{"id": pk, "code": code} for pk, code in outcome.refused.items()]
    return {
        "done": outcome.done,
        "unchanged": outcome.unchanged,
        "not_possible_count": len(refused),
        "not_possible": refused[:100],
    }
