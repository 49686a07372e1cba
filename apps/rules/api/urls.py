from rest_framework.routers import SimpleRouter

from apps.rules.api.views import RuleViewSet

router = SimpleRouter()
router.register("rules", RuleViewSet)

urlpatterns = router.urls
