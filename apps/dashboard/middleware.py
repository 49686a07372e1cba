"""Pages show times where the person lives. The API answers in UTC, whoever asks."""

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def personal_time(get_response):
    if iscoroutinefunction(get_response):

        async def middleware(request):
            zone = _zone(await request.auser()) if _is_page(request) else ""
            with timezone.override(zone or settings.TIME_ZONE):
                return await get_response(request)
    else:

        def middleware(request):
            zone = _zone(request.user) if _is_page(request) else ""
            with timezone.override(zone or settings.TIME_ZONE):
                return get_response(request)

    return middleware


def _is_page(request) -> bool:
    """Of somebody who may be logged in."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES and not request.path.startswith("/api/")


def _zone(user) -> str:
    return user.timezone if user.is_authenticated else ""
