from django.urls import path
from rest_framework.routers import SimpleRouter

from apps.devices.api import catalog, device_side, views

router = SimpleRouter(use_regex_path=False)
router.register("locations", catalog.LocationViewSet)
router.register("metrics", catalog.MetricViewSet)
router.register("device-types", catalog.DeviceTypeViewSet)
router.register("devices", views.DeviceViewSet)

many = {"get": "list", "post": "create"}
key = {"patch": "partial_update", "delete": "destroy"}
binding = {"patch": "partial_update", "delete": "destroy"}

urlpatterns = [
    *router.urls,
    path("devices/<uuid:device_id>/metrics/", views.BindingViewSet.as_view(many)),
    path("devices/<uuid:device_id>/metrics/<int:binding_id>/", views.BindingViewSet.as_view(binding)),
    path("devices/<uuid:device_id>/keys/", views.KeyViewSet.as_view(many)),
    path("devices/<uuid:device_id>/keys/<int:key_id>/", views.KeyViewSet.as_view(key)),
    path("devices/<uuid:device_id>/keys/<int:key_id>/rotate/", views.KeyViewSet.as_view({"post": "rotate"})),
    path("devices/<uuid:device_id>/commands/", views.CommandViewSet.as_view(many)),
    path("device/commands/", device_side.OwnCommandsView.as_view()),
    path("device/commands/<uuid:command_id>/acknowledge/", device_side.AcknowledgeView.as_view()),
]
