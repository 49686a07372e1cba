from django.contrib import admin, messages
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from apps.events import queries, services
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
    list_filter = ["status", "severity", "timestamp"]
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
        "dispatched_at",
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
        over = 0
        for event in queryset:
            try:
                services.acknowledge(event=event, user=request.user, now=timezone.now())
            except services.EventIsResolved:
                over += 1
        self._report(request, "acknowledged", len(queryset) - over)
        if over:
            self.message_user(request, f"{over} had been resolved already.", messages.WARNING)

    @action(description="Resolve")
    def resolve_selected(self, request, queryset):
        for event in queryset:
            services.resolve(event=event, user=request.user, now=timezone.now())
        self._report(request, "resolved", len(queryset))

    def _report(self, request, done: str, count: int):
        self.message_user(request, f"{count} event{'' if count == 1 else 's'} {done}.", messages.SUCCESS)

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
