from django.utils import timezone
from rest_framework import serializers
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import JSONParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.devices.models import DeviceKey, DeviceMetric
from apps.telemetry.models import Reading


class KeyAuthentication(TokenAuthentication):
    def authenticate_credentials(self, key):
        usable = DeviceKey.objects.usable(now=timezone.now()).select_related("owner")
        found = usable.filter(digest=DeviceKey.digest_of(key)).first()
        if found is None:
            raise AuthenticationFailed("Unknown key.")
        return found.owner, found


class MessageSerializer(serializers.Serializer):
    serial_number = serializers.CharField(max_length=255)
    timestamp = serializers.DateTimeField()
    metrics = serializers.DictField(child=serializers.FloatField())
    quality = serializers.FloatField(min_value=0, max_value=1, default=1.0)


class TelemetryView(APIView):
    authentication_classes = [KeyAuthentication]
    permission_classes = [IsAuthenticated]
    parser_classes = [JSONParser]

    def post(self, request):
        messages = request.data if isinstance(request.data, list) else [request.data]
        serializer = MessageSerializer(data=messages, many=True)
        serializer.is_valid(raise_exception=True)
        readings = readings_of(serializer.validated_data, request.user)
        Reading.objects.bulk_create(readings, ignore_conflicts=True)
        return Response({"accepted": len(readings)}, status=201)


def readings_of(messages: list[dict], owner) -> list[Reading]:
    serials = {message["serial_number"] for message in messages}
    bindings = DeviceMetric.objects.filter(device__serial_number__in=serials, device__owner=owner)
    series = dict_of(bindings.values_list("device__serial_number", "metric__name", "pk"))
    missing = [
        f"{message['serial_number']} {name}"
        for message in messages
        for name in message["metrics"]
        if (message["serial_number"], name) not in series
    ]
    if missing:
        raise serializers.ValidationError({"metrics": f"Unknown: {missing[:10]}"})
    return [
        Reading(
            device_metric_id=series[message["serial_number"], name],
            ts=message["timestamp"],
            quality=message["quality"],
            value_numeric=value,
        )
        for message in messages
        for name, value in message["metrics"].items()
    ]


def dict_of(rows) -> dict[tuple[str, str], int]:
    return {(serial, metric): pk for serial, metric, pk in rows}
