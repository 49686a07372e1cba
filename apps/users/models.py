from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models.functions import Lower

from apps.users.zones import validate_zone


class UserManager(DjangoUserManager):
    def create_superuser(self, username, email=None, password=None, **extra):
        return super().create_superuser(username, email, password, **(extra | {"role": User.Role.ADMIN}))


class User(AbstractUser):
    """A person. The role decides everything: Django's staff and superuser flags follow it."""

    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        CLIENT = "client", "Client"

    email = models.EmailField(max_length=255)
    role = models.CharField(max_length=20, choices=Role, default=Role.CLIENT)
    timezone = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_zone],
        help_text="IANA name, such as Europe/Kyiv: of times on pages, and of messages to this email address.",
    )
    messages_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Messages a minute from all keys together. Empty: as the hub is set up, 0: no limit.",
    )
    readings_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Readings a minute from all keys together. Empty: as the hub is set up, 0: no limit.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = UserManager()

    class Meta:
        db_table = "users"
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="uq_users_email",
                violation_error_message="A user with this email already exists.",
            ),
            models.CheckConstraint(condition=models.Q(role__in=["admin", "client"]), name="ck_users_role"),
        ]
        indexes = [models.Index(fields=["role"], name="idx_users_role")]

    @property
    def is_admin(self) -> bool:
        return self.role == self.Role.ADMIN

    def save(self, *args, **kwargs):
        self.is_staff = self.is_superuser = self.is_admin
        super().save(*args, **kwargs)
