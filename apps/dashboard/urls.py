from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from apps.dashboard import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", LoginView.as_view(template_name="dashboard/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("events/", views.events, name="events"),
    path("events/<int:pk>/", views.event, name="event"),
    path("events/<int:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
]
