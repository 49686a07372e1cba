from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, permissions, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.constraints import Conflict, ConstraintErrors
from apps.notifications import queries, services
from apps.notifications.api.filters import DeliveryFilter
from apps.notifications.api.serializers import (
    AttemptSerializer,
    DeliverySerializer,
    PreviewRequestSerializer,
    PreviewSerializer,
    SilenceSerializer,
    TemplateSerializer,
    TestResultsSerializer,
)
from apps.notifications.models import NotificationDelivery, NotificationTemplate, Silence


class EditsOwnTemplates(permissions.BasePermission):
    """Everyone sees and uses a shared template; admins alone change it, or set it off."""

    message = "A shared template is changed by admins only."

    def has_object_permission(self, request, view, template):
        user = request.user
        return request.method in permissions.SAFE_METHODS or user.is_admin or template.owner_id == user.pk


@extend_schema(tags=["notifications"])
class TemplateViewSet(ConstraintErrors, viewsets.ModelViewSet):
    """What is told, to whom, and how hard to try."""

    queryset = NotificationTemplate.objects.none()
    serializer_class = TemplateSerializer
    permission_classes = [permissions.IsAuthenticated, EditsOwnTemplates]
    lookup_value_converter = "int"

    def get_queryset(self):
        return queries.templates_for(self.request.user)

    @transaction.atomic
    def perform_create(self, serializer):
        serializer.save()

    @transaction.atomic
    def perform_update(self, serializer):
        serializer.save()

    @extend_schema(request=None, responses=TestResultsSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request, pk=None):
        """Send to its recipients with sample values, now, and say how it went."""
        results = services.send_test(template=self.get_object())
        return Response({"results": results})

    @extend_schema(request=PreviewRequestSerializer, responses=PreviewSerializer)
    @action(detail=True, methods=["post"], permission_classes=[permissions.IsAuthenticated])
    def preview(self, request, pk=None):
        """What it would say, of an event or of a sample; with other texts than the saved ones, if they are given."""
        return self._preview(request, self.get_object())

    @extend_schema(
        operation_id="notification_templates_preview_unsaved",
        request=PreviewRequestSerializer,
        responses=PreviewSerializer,
    )
    @action(detail=False, methods=["post"], url_path="preview")
    def preview_unsaved(self, request):
        """What a template that is not saved yet would say."""
        return self._preview(request, NotificationTemplate())

    def _preview(self, request, template):
        asked = PreviewRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        texts = dict(asked.validated_data)
        event_id = texts.pop("event", None)
        event = queries.event_for(request.user, event_id) if event_id is not None else None
        if event_id is not None and event is None:
            raise ValidationError({"event": ["There is no such event."]}, code="does_not_exist")
        rendered = services.preview(template=template, event=event, **texts)
        body = {"subject": rendered.subject, "message": rendered.text, "error": rendered.error or None}
        return Response(body)


@extend_schema(tags=["notifications"])
class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Messages to recipients, newest first: what was told, and what became of it."""

    queryset = NotificationDelivery.objects.none()
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    ordering = ("-pk",)
    lookup_value_converter = "int"

    def get_queryset(self):
        return queries.deliveries_for(self.request.user)

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request, pk=None):
        """Try a failed delivery afresh; 409 for one that has not failed."""
        delivery = self.get_object()
        if not services.retry(delivery=delivery, now=timezone.now()):
            raise Conflict(f"This delivery is {delivery.status}; only a failed one is tried again.")
        return Response(self.get_serializer(delivery).data)

    @extend_schema(responses=AttemptSerializer(many=True))
    @action(detail=True, pagination_class=None, filterset_class=None)
    def attempts(self, request, pk=None):
        """Every try to hand it over, oldest first."""
        return Response(AttemptSerializer(self.get_object().attempts.order_by("pk"), many=True).data)


@extend_schema(tags=["notifications"])
class SilenceViewSet(ConstraintErrors, viewsets.ModelViewSet):
    """For a while nobody is told of certain events; they are remembered all the same."""

    queryset = Silence.objects.none()
    serializer_class = SilenceSerializer
    ordering = ("-pk",)
    lookup_value_converter = "int"

    def get_queryset(self):
        return Silence.objects.visible_to(self.request.user)

    @transaction.atomic
    def perform_create(self, serializer):
        serializer.save(created_by=self.request.user)

    @transaction.atomic
    def perform_update(self, serializer):
        serializer.save()
