from django.contrib import admin, messages
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from apps.events import bulk, queries, services
from apps.events.masking import masked
from apps.events.models import Event, EventComment

SEVERITY_COLOURS = {"critical": "danger", "warning": "warning", "info": "info"}
STATUS_COLOURS = {"new": "danger", "acknowledged": "warning", "resolved": "success"}


class CommentInline(TabularInline):
    """What was said stays said."""

    model = EventComment
    fields = ["body", "author", "created_at"]
    readonly_fields = ["author", "created_at"]
    extra = 1

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("author")

    def has_add_permission(self, request, obj=None):
        return request.user.is_admin

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Event)
class EventAdmin(ModelAdmin):
    """Events are what happened: people acknowledge, resolve and comment, and edit nothing."""

    list_display = ["message", "severity_badge", "status_badge", "device", "rule", "timestamp"]
    list_filter = ["status", "severity", "device__device_type", "timestamp"]
    search_fields = ["message", "device__name", "device__serial_number", "rule__name"]
    date_hierarchy = "timestamp"
    ordering = ["-timestamp", "-pk"]
    show_full_result_count = False
    actions = ["acknowledge_selected", "resolve_selected"]
    inlines = [CommentInline]
    fields = [
        ("severity", "status"),
        "message",
        ("timestamp", "created_at"),
        ("rule", "device", "device_metric"),
        ("acknowledged_by", "acknowledged_at"),
        ("resolved_by", "resolved_at"),
        ("dispatched_at", "severity_rises_at"),
        "results",
        "metadata",
    ]
    readonly_fields = [name for line in fields for name in ([line] if isinstance(line, str) else line)]

    def get_queryset(self, request):
        return queries.events_for(request.user).select_related("device_metric__device")

    @display(description="Severity", ordering="severity", label=SEVERITY_COLOURS)
    def severity_badge(self, event):
        return event.severity

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, event):
        return event.status

    @display(description="What was done")
    def results(self, event):
        return "\n".join(_sentence(entry) for entry in masked(event.execution_results)) or "Nothing to do."

    @action(description="Acknowledge")
    def acknowledge_selected(self, request, queryset):
        outcome = self._change(request, bulk.acknowledge, queryset, "acknowledged")
        if outcome and outcome.refused:
            self.message_user(request, f"{len(outcome.refused)} had been resolved already.", messages.WARNING)

    @action(description="Resolve")
    def resolve_selected(self, request, queryset):
        self._change(request, bulk.resolve, queryset, "resolved")

    def _change(self, request, change, queryset, done: str) -> bulk.Outcome | None:
        try:
            outcome = change(events=queryset, user=request.user, now=timezone.now())
        except bulk.TooManyEvents as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        count = outcome.done + outcome.unchanged
        self.message_user(request, f"{count} event{'' if count == 1 else 's'} {done}.", messages.SUCCESS)
        return outcome

    def save_formset(self, request, form, formset, change):
        """The only thing that a form here saves is a new comment."""
        for comment in formset.save(commit=False):
            services.comment(event=comment.event, user=request.user, body=comment.body, now=timezone.now())
        formset.save_m2m()

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


def _sentence(entry: dict) -> str:
    told = [f"{name.replace('_', ' ')} {entry[name]}" for name in ("sent_count", "error") if entry.get(name)]
    return ": ".join([entry.get("type", "?"), ", ".join([entry.get("status", "?"), *told])])
