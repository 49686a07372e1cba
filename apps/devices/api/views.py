from django.conf import settings
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.response import Response

from apps.constraints import ConstraintErrors
from apps.devices import queries, services
from apps.devices.api import serializers
from apps.devices.api.filters import DeviceFilter
from apps.devices.models import Device, DeviceCommand, DeviceKey, DeviceMetric


@extend_schema(tags=["devices"])
class DeviceViewSet(ConstraintErrors, viewsets.ModelViewSet):
    """Clients see and change their own devices, admins all of them. Deleting one deletes its readings."""

    lookup_value_converter = "uuid"
    queryset = Device.objects.all()
    serializer_class = serializers.DeviceSerializer
    filterset_class = DeviceFilter

    def get_queryset(self):
        return Device.objects.visible_to(self.request.user)

    def perform_create(self, serializer):
        fields = {"owner": self.request.user} | serializer.validated_data
        serializer.instance = services.create_device(**fields)

    def perform_update(self, serializer):
        device = serializer.instance
        serializer.instance = services.update_device(device=device, **serializer.validated_data)

    def perform_destroy(self, device: Device):
        services.delete_device(device=device)


class OfDevice(ConstraintErrors):
    """What lies under `devices/{device_id}/`: first of all, the requester has to see the device."""

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        devices = Device.objects.visible_to(request.user)
        self.device = get_object_or_404(devices, pk=kwargs["device_id"])


@extend_schema(tags=["devices"])
class BindingViewSet(
    OfDevice,
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """The metrics of a device, each a series of readings. Deleting one deletes its readings."""

    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    lookup_url_kwarg = "binding_id"
    queryset = DeviceMetric.objects.all()
    serializer_class = serializers.BindingSerializer
    ordering = ("pk",)

    def get_queryset(self):
        return queries.bindings_of(self.device)

    @extend_schema(request=serializers.NewBindingSerializer, responses={201: serializers.BindingSerializer})
    def create(self, request, *args, **kwargs):
        fields = _validated(serializers.NewBindingSerializer, request)
        may_create = settings.TELEMETRY["AUTO_REGISTER"]
        binding = services.bind_metric(device=self.device, name=fields.pop("metric"), may_create=may_create, **fields)
        return Response(self.get_serializer(binding).data, status.HTTP_201_CREATED)

    def perform_update(self, serializer):
        services.update_binding(binding=serializer.instance, **serializer.validated_data)

    def perform_destroy(self, binding: DeviceMetric):
        services.unbind_metrics(bindings=[binding])


@extend_schema(tags=["devices"])
class KeyViewSet(
    OfDevice,
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """What a device or gateway logs in with. Several work side by side, so that keys can be rotated."""

    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    lookup_url_kwarg = "key_id"
    queryset = DeviceKey.objects.all()
    serializer_class = serializers.KeySerializer

    def get_queryset(self):
        return self.device.keys.all()

    def get_serializer_class(self):
        return serializers.KeyChangeSerializer if self.action == "partial_update" else self.serializer_class

    @extend_schema(responses={201: serializers.IssuedKeySerializer})
    def create(self, request, *args, **kwargs):
        """The answer shows the secret, as `key`, this once."""
        fields = _validated(serializers.KeySerializer, request)
        return self._issued(services.issue_key(device=self.device, now=timezone.now(), **fields))

    @extend_schema(request=serializers.RotationSerializer, responses={201: serializers.IssuedKeySerializer})
    def rotate(self, request, *args, **kwargs):
        """A new key with the same name, scope and limits; the old one expires after the overlap."""
        fields = _validated(serializers.RotationSerializer, request)
        return self._issued(services.rotate_key(key=self.get_object(), now=timezone.now(), **fields))

    def perform_update(self, serializer):
        services.update_key(key=serializer.instance, **serializer.validated_data)

    def perform_destroy(self, key: DeviceKey):
        """Revokes: the row stays, to tell when."""
        services.revoke_key(key=key, now=timezone.now())

    def _issued(self, issued: tuple[DeviceKey, str]) -> Response:
        key, secret = issued
        shown = serializers.KeySerializer(key, context=self.get_serializer_context()).data
        return Response(shown | {"key": secret}, status.HTTP_201_CREATED)


@extend_schema(tags=["devices"])
class CommandViewSet(OfDevice, mixins.ListModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet):
    """What a device is to do and what became of it, newest first."""

    queryset = DeviceCommand.objects.all()
    serializer_class = serializers.CommandSerializer

    def get_queryset(self):
        return self.device.commands.all()

    def perform_create(self, serializer):
        serializer.instance = services.queue_command(
            device=self.device, now=timezone.now(), **serializer.validated_data
        )


def _validated(serializer_class, request) -> dict:
    serializer = serializer_class(data=request.data, context={"request": request})
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
