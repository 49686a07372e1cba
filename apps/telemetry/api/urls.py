from django.urls import path

from apps.telemetry.api.aggregate import AggregateView
from apps.telemetry.api.export import ExportView
from apps.telemetry.api.matrix import MatrixView
from apps.telemetry.api.views import LatestView, MessagesView, TelemetryView

urlpatterns = [
    path("telemetry/", TelemetryView.as_view(), name="telemetry"),
    path("telemetry/latest/", LatestView.as_view(), name="telemetry-latest"),
    path("telemetry/messages/", MessagesView.as_view(), name="telemetry-messages"),
    path("telemetry/aggregate/", AggregateView.as_view(), name="telemetry-aggregate"),
    path("telemetry/export/", ExportView.as_view(), name="telemetry-export"),
    path("telemetry/matrix/", MatrixView.as_view(), name="telemetry-matrix"),
]
