"""Django's own error pages: problem details under /api/, HTML for people in the admin."""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from apps import problems


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.not_found(request, exception)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.server_error(request)
    return defaults.server_error(request)
