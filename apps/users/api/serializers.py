from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.serializers import TokenRefreshSerializer
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import get_md5_hash_password

from apps.users.models import User


class UserSerializer(serializers.ModelSerializer):
    password = serializers.CharField(
        write_only=True,
        required=False,
        max_length=128,
        trim_whitespace=False,
        style={"input_type": "password"},
    )

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "email",
            "first_name",
            "last_name",
            "role",
            "is_active",
            "timezone",
            "messages_per_minute",
            "readings_per_minute",
            "password",
            "last_login",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["last_login"]

    def validate(self, data: dict) -> dict:
        """Nobody locks themselves out: so there is always an admin left."""
        if self.instance == self.context["request"].user:
            for field in ("role", "is_active"):
                if field in data and data[field] != getattr(self.instance, field):
                    raise serializers.ValidationError({field: "Another admin has to change this for you."})
        return data


class NewUserSerializer(UserSerializer):
    password = serializers.CharField(
        write_only=True, max_length=128, trim_whitespace=False, style={"input_type": "password"}
    )


class MeSerializer(UserSerializer):
    class Meta(UserSerializer.Meta):
        read_only_fields = [
            "username",
            "role",
            "is_active",
            "messages_per_minute",
            "readings_per_minute",
            "last_login",
        ]


class RefreshSerializer(TokenRefreshSerializer):
    """Refuses what the library would still refresh: tokens from before a password change, or of nobody."""

    def validate(self, attrs: dict) -> dict:
        claims = self.token_class(attrs["refresh"]).payload
        user = User.objects.filter(pk=claims.get(api_settings.USER_ID_CLAIM)).first()
        if user is None or not user.is_active:
            raise AuthenticationFailed(self.error_messages["no_active_account"], "no_active_account")
        if claims.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
            raise AuthenticationFailed("The password has been changed; log in again.", "password_changed")
        return super().validate(attrs)
