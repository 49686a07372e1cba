from rest_framework.routers import SimpleRouter

from apps.notifications.api.views import DeliveryViewSet, SilenceViewSet, TemplateViewSet

router = SimpleRouter(use_regex_path=False)
router.register("notification-templates", TemplateViewSet, basename="notification-template")
router.register("notification-deliveries", DeliveryViewSet, basename="notification-delivery")
router.register("silences", SilenceViewSet, basename="silence")

urlpatterns = router.urls
