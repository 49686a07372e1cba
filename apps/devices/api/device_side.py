"""What a device asks for itself, with its own key: its commands.

The web server answers the long poll ahead of Django (`apps/devices/asgi.py`); the view here is the same for
everything that goes through Django (runserver, the test client, the schema).
"""

import time
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.constraints import Conflict
from apps.devices import command_queue, services
from apps.devices.models import Device, DeviceCommand, DeviceKey

MAX_WAIT = 60
LOOK_EVERY = 0.5  # seconds between two looks at the rows, which are the truth
NOTED_EVERY = timedelta(minutes=1)
SERIAL_NUMBER = OpenApiParameter("serial_number", description="With a key for all devices of an owner: which one.")


class DeviceKeyAuthentication(BaseAuthentication):
    """`Authorization: Token <device key>`. The user is the key's owner, `request.auth` the key."""

    def authenticate(self, request):
        key = key_of(request.headers.get("Authorization", ""), now=timezone.now())
        return key.owner, key

    def authenticate_header(self, request):
        return "Token"


class DeviceKeyScheme(OpenApiAuthenticationExtension):
    target_class = DeviceKeyAuthentication
    name = "deviceKey"

    def get_security_definition(self, auto_schema):
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Token <device key>`"}


def key_of(authorization: str, *, now: datetime) -> DeviceKey:
    """The usable key in an Authorization header, whose use is noted. Raises AuthenticationFailed."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() not in {"token", "bearer"} or not secret.strip():
        raise exceptions.AuthenticationFailed("Send a device key: Authorization: Token <key>.")
    usable = DeviceKey.objects.usable(now=now).select_related("owner", "device")
    key = usable.filter(digest=DeviceKey.digest_of(secret.strip())).first()
    if key is None:
        raise exceptions.AuthenticationFailed("The key is unknown, expired or revoked.")
    if key.last_used_at is None or now - key.last_used_at >= NOTED_EVERY:
        services.note_key_uses(uses={key.pk: now})
    return key


def device_of(key: DeviceKey, serial_number: str) -> Device:
    """The device that speaks. A gateway's key has to name one of its owner's; another's does not exist."""
    if key.scope == DeviceKey.Scope.DEVICE:
        if serial_number and serial_number != key.device.serial_number:
            raise exceptions.PermissionDenied("This key is for another device.")
        return key.device
    if not serial_number:
        raise exceptions.ValidationError({"serial_number": ["This key is for several devices: name one."]}, "required")
    device = Device.objects.filter(owner=key.owner_id, serial_number=serial_number).first()
    if device is None:
        raise exceptions.NotFound("There is no such device.")
    return device


def seconds_to_wait(text: str) -> float:
    try:
        return max(0.0, min(float(text or 0), MAX_WAIT))
    except ValueError:
        raise exceptions.ValidationError({"wait": [f"A number of seconds from 0 to {MAX_WAIT}."]}) from None


class HandedCommandSerializer(serializers.ModelSerializer):
    class Meta:
        model = DeviceCommand
        fields = ["id", "name", "params", "created_at", "expires_at"]
        read_only_fields = fields


class HandedCommandsSerializer(serializers.Serializer):
    """In the shape of a page, so that clients read it as any other list."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = HandedCommandSerializer(many=True)


class AcknowledgementSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=["completed", "failed"])
    result = serializers.DictField(required=False, allow_null=True, default=None)


class CommandStateSerializer(serializers.ModelSerializer):
    class Meta:
        model = DeviceCommand
        fields = ["id", "name", "status", "result", "finished_at"]
        read_only_fields = fields


def page_of(commands: list[DeviceCommand]) -> dict:
    return {"next": None, "previous": None, "results": HandedCommandSerializer(commands, many=True).data}


class OwnCommandsView(APIView):
    authentication_classes = [DeviceKeyAuthentication]
    permission_classes = [IsAuthenticated]

    @extend_schema(
        tags=["device"],
        operation_id="device_commands_take",
        summary="Take the commands that wait",
        description="A long poll: answers at once if there are commands, else when one comes or `wait` seconds are "
        "over. What is not acknowledged within a minute is handed out again under the same id.",
        parameters=[OpenApiParameter("wait", float, description=f"Seconds, at most {MAX_WAIT}."), SERIAL_NUMBER],
        responses=HandedCommandsSerializer,
    )
    def get(self, request):
        device = device_of(request.auth, request.query_params.get("serial_number", ""))
        until = time.monotonic() + seconds_to_wait(request.query_params.get("wait", ""))
        taken = command_queue.take(device_id=device.pk, now=timezone.now())
        while not taken and time.monotonic() < until:
            time.sleep(max(0.0, min(LOOK_EVERY, until - time.monotonic())))
            taken = command_queue.take(device_id=device.pk, now=timezone.now())
        return Response(page_of(taken))


class AcknowledgeView(APIView):
    authentication_classes = [DeviceKeyAuthentication]
    permission_classes = [IsAuthenticated]

    @extend_schema(
        tags=["device"],
        operation_id="device_commands_acknowledge",
        summary="Say what became of a command",
        description="Repeating it changes nothing; 409 if the command ended otherwise before.",
        parameters=[SERIAL_NUMBER],
        request=AcknowledgementSerializer,
        responses=CommandStateSerializer,
    )
    def post(self, request, command_id: UUID):
        device = device_of(request.auth, request.query_params.get("serial_number", ""))
        said = AcknowledgementSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        try:
            command = command_queue.acknowledge(
                device_id=device.pk, command_id=command_id, now=timezone.now(), **said.validated_data
            )
        except command_queue.NotAcknowledgeable as error:
            raise Conflict(str(error)) from error
        if command is None:
            raise exceptions.NotFound("The device has no such command.")
        return Response(CommandStateSerializer(command).data)
