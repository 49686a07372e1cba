from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from apps.constraints import ConstraintErrors
from apps.users import services
from apps.users.api.permissions import IsAdmin
from apps.users.api.serializers import MeSerializer, NewUserSerializer, RefreshSerializer, UserSerializer
from apps.users.models import User


@extend_schema(tags=["auth"], auth=[])
class TokenView(TokenObtainPairView):
    """Username and password in, an access and a refresh token out."""


@extend_schema(tags=["auth"], auth=[])
class RefreshView(TokenRefreshView):
    """A new pair of tokens; the refresh token sent in stops working."""

    serializer_class = RefreshSerializer


class UserFilter(filters.FilterSet):
    search = filters.CharFilter(method="filter_search", label="Part of the username, email or name.")

    class Meta:
        model = User
        fields = ["role", "is_active"]

    def filter_search(self, users: QuerySet, name: str, term: str) -> QuerySet:
        columns = ("username", "email", "first_name", "last_name")
        return users.filter(Q.create([(f"{column}__icontains", term) for column in columns], Q.OR))


@extend_schema(tags=["users"])
class UserViewSet(ConstraintErrors, viewsets.ModelViewSet):
    """Accounts, for admins. One that owns devices can't be deleted; deactivate it instead."""

    permission_classes = [IsAdmin]
    lookup_value_converter = "int"
    queryset = User.objects.all()
    filterset_class = UserFilter

    def get_serializer_class(self):
        return NewUserSerializer if self.action == "create" else UserSerializer

    def perform_create(self, serializer):
        serializer.instance = services.create_user(**serializer.validated_data)

    def perform_update(self, serializer):
        serializer.instance = services.update_user(user=serializer.instance, **serializer.validated_data)

    def perform_destroy(self, user: User):
        if user == self.request.user:
            raise ValidationError("Another admin has to delete your account.")
        user.delete()


@extend_schema(tags=["users"])
class MeView(ConstraintErrors, generics.RetrieveUpdateAPIView):
    """The account that asks."""

    http_method_names = ["get", "patch", "head", "options"]
    serializer_class = MeSerializer

    def get_object(self) -> User:
        return self.request.user

    def perform_update(self, serializer):
        serializer.instance = services.update_user(user=serializer.instance, **serializer.validated_data)
