"""What all devices share: places, metrics, types. Everybody reads, admins write."""

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets

from apps.constraints import ConstraintErrors
from apps.devices import services
from apps.devices.api import filters, serializers
from apps.devices.models import DeviceType, Location, Metric
from apps.users.api.permissions import IsAdminOrReadOnly


class CatalogViewSet(ConstraintErrors, viewsets.ModelViewSet):
    permission_classes = [IsAdminOrReadOnly]
    ordering = ("name", "pk")

    @transaction.atomic
    def perform_create(self, serializer):
        serializer.save()

    @transaction.atomic
    def perform_update(self, serializer):
        serializer.save()


@extend_schema(tags=["locations"])
class LocationViewSet(CatalogViewSet):
    """Places form a tree. A place with others in it can't be deleted; devices there lose their location."""

    lookup_value_converter = "uuid"
    queryset = Location.objects.all()
    serializer_class = serializers.LocationSerializer
    filterset_class = filters.LocationFilter

    def perform_create(self, serializer):
        serializer.instance = services.create_location(**serializer.validated_data)

    def perform_update(self, serializer):
        location = serializer.instance
        serializer.instance = services.update_location(location=location, **serializer.validated_data)


@extend_schema(tags=["metrics"])
class MetricViewSet(CatalogViewSet):
    """What can be measured. Names are the same whatever their case."""

    lookup_value_converter = "int"
    queryset = Metric.objects.all()
    serializer_class = serializers.MetricSerializer
    filterset_class = filters.MetricFilter


@extend_schema(tags=["device types"])
class DeviceTypeViewSet(CatalogViewSet):
    """Kinds of devices, with the metric they are bought for and the range expected of it."""

    lookup_value_converter = "uuid"
    queryset = DeviceType.objects.all()
    serializer_class = serializers.DeviceTypeSerializer
    filterset_class = filters.DeviceTypeFilter
