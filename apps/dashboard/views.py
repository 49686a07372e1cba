"""Pages for people who get a message and follow its link. What they can't see does not exist."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.dashboard import queries
from apps.events import services
from apps.events.models import Event


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The fleet for admins, who also log in there; what to take care of for everybody else."""
    is_client = request.user.is_authenticated and not request.user.is_admin
    return redirect("events" if is_client else "admin:index")


@login_required
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/events.html", {"events": queries.open_events(request.user)})


@login_required
@require_safe
def event(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "dashboard/event.html", queries.story_of(_event(request, pk)))


@login_required
@require_POST
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        services.acknowledge(event=_event(request, pk), user=request.user, now=timezone.now())
    except services.EventIsResolved:
        messages.info(request, "It was over before: there is nothing left to acknowledge.")
    return redirect("event", pk=pk)


def _event(request: HttpRequest, pk: int) -> Event:
    found = queries.event_for(request.user, pk)
    if found is None:
        raise Http404
    return found
