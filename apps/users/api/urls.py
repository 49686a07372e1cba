from django.urls import path
from rest_framework.routers import SimpleRouter

from apps.users.api import views

router = SimpleRouter(use_regex_path=False)
router.register("users", views.UserViewSet)

urlpatterns = [
    path("auth/token/", views.TokenView.as_view()),
    path("auth/token/refresh/", views.RefreshView.as_view()),
    # Ahead of `users/<id>/`.
    path("users/me/", views.MeView.as_view()),
    *router.urls,
]
