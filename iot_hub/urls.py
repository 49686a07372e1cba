from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from iot_hub import health, metrics

handler404 = "iot_hub.errors.not_found"
handler500 = "iot_hub.errors.server_error"

v1 = [
    path("", include("apps.users.api.urls")),
    path("", include("apps.devices.api.urls")),
    path("", include("apps.telemetry.api.urls")),
    path("", include("apps.rules.api.urls")),
    path("", include("apps.events.api.urls")),
    path("", include("apps.notifications.api.urls")),
]

urlpatterns = [
    path("", include("apps.dashboard.urls")),
    path("admin/", admin.site.urls),
    path("api/", RedirectView.as_view(pattern_name="docs")),
    path("api/v1/", include(v1)),
    path("", include("apps.telemetry.api.influx_urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # The split view has no script within the page, so a strict Content-Security-Policy can stand.
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.view),
]
