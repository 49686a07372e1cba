"""Where clients of InfluxDB look for it: at the root, outside of the hub's own API."""

from django.urls import path

from apps.telemetry.api import influx_views

urlpatterns = [
    path("api/v2/write", influx_views.WriteView.as_view(), name="line-protocol"),
    path("write", influx_views.V1WriteView.as_view(), name="line-protocol-v1"),
    path("ping", influx_views.ping),
    path("health", influx_views.health),
    path("ready", influx_views.ready),
]
