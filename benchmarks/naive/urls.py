from django.urls import path

from naive.views import TelemetryView

urlpatterns = [path("api/v1/telemetry/", TelemetryView.as_view())]
