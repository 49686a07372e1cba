from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, permissions, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from apps.constraints import Conflict, ConstraintErrors
from apps.notifications import queries, services
from apps.notifications.api.filters import DeliveryFilter
from apps.notifications.api.serializers import (
    DeliverySerializer,
    TemplateSerializer,
    TestResultsSerializer,
)
from apps.notifications.models import NotificationDelivery, NotificationTemplate


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
