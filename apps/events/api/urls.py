from rest_framework.routers import SimpleRouter

from apps.events.api.views import EventViewSet

router = SimpleRouter(use_regex_path=False)
router.register("events", EventViewSet, basename="event")

urlpatterns = router.urls
