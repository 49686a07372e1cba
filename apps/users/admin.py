from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.users.models import User

# The role decides everything, and tokens are nothing that a person could do something with.
for unwanted in (Group, BlacklistedToken, OutstandingToken):
    admin.site.unregister(unwanted)


class NewUserForm(UserCreationForm):
    usable_password = None

    class Meta:
        model = User
        fields = ["username", "email", "role"]


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "role_label", "is_active", "device_count", "last_login", "created_at"]
    list_filter = ["role", "is_active"]
    search_fields = ["username", "email", "first_name", "last_name"]
    ordering = ["username"]
    filter_horizontal = []
    readonly_fields = ["last_login", "created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": ["username", "email", "first_name", "last_name", "timezone", "password"]}),
        ("Access", {"fields": ["role", "is_active"]}),
        ("Rate limits", {"fields": ["messages_per_minute", "readings_per_minute"]}),
        ("Times", {"fields": ["last_login", "created_at", "updated_at"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "email", "role", "password1", "password2"]})]

    @display(description="Role", ordering="role", label={"admin": "info"})
    def role_label(self, user):
        return user.role, user.get_role_display()

    @display(description="Devices", ordering="device_count")
    def device_count(self, user):
        return user.device_count

    def get_queryset(self, request):
        return super().get_queryset(request).annotate(device_count=Count("devices"))

    # Nobody locks themselves out: so there is always an admin left.

    def get_readonly_fields(self, request, user=None):
        fields = super().get_readonly_fields(request, user)
        return [*fields, "role", "is_active"] if user == request.user else fields

    def has_delete_permission(self, request, user=None):
        return user != request.user and super().has_delete_permission(request, user)

    def get_deleted_objects(self, users, request):
        objects, counts, missing, protected = super().get_deleted_objects(users, request)
        if any(user == request.user for user in users):
            protected = [*protected, "Your own account"]
        return objects, counts, missing, protected
