from django.urls import path

from apps.telemetry.api.views import TelemetryView

urlpatterns = [path("telemetry/", TelemetryView.as_view(), name="telemetry")]
