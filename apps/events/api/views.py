from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from apps.constraints import Conflict
from apps.events import queries, services
from apps.events.api.filters import EventFilter
from apps.events.api.serializers import CommentSerializer, EventSerializer
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
