from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from apps.users import services
from apps.users.tasks import forget_expired_tokens
from apps.users.tests.factories import UserFactory

PASSWORD = "a-Long-passw0rd"


def log_in(username: str, password: str = PASSWORD):
    return APIClient().post("/api/v1/auth/token/", {"username": username, "password": password})


def with_token(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def tokens(alex):
    return log_in("alex").json()


def test_username_and_password_give_tokens_that_work(tokens):
    answer = with_token(tokens["access"]).get("/api/v1/users/me/")
    assert answer.status_code == 200
    assert answer.json()["username"] == "alex"


@pytest.mark.parametrize(("username", "password"), [("alex", "wrong"), ("nobody", PASSWORD)])
def test_wrong_credentials_are_refused_without_saying_which_is_wrong(alex, username, password):
    answer = log_in(username, password)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "No active account found with the given credentials"


def test_missing_password_is_told_at_its_field(db):
    answer = APIClient().post("/api/v1/auth/token/", {"username": "alex"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "password"


def test_inactive_user_cannot_log_in(db):
    UserFactory(username="gone", is_active=False)
    assert log_in("gone").status_code == 401


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "an-Other-passw0rd"}])
def test_tokens_stop_working_when_the_account_is_closed_or_its_password_changes(alex, tokens, change):
    services.update_user(user=alex, **change)
    assert with_token(tokens["access"]).get("/api/v1/users/me/").status_code == 401
    refreshed = APIClient().post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]})
    assert refreshed.status_code == 401


def test_token_of_a_deleted_user_is_refused(alex, tokens):
    alex.delete()
    assert with_token(tokens["access"]).get("/api/v1/users/me/").status_code == 401
    refreshed = APIClient().post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]})
    assert refreshed.status_code == 401


def test_refresh_gives_a_new_pair_and_works_once(tokens):
    first = APIClient().post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]})
    assert with_token(first.json()["access"]).get("/api/v1/users/me/").status_code == 200
    second = APIClient().post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]})
    assert second.status_code == 401


@pytest.mark.parametrize("header", ["Bearer nonsense", "Token iot_nonsense", "Bearer"])
def test_nonsense_in_the_header_is_refused(db, header):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    answer = client.get("/api/v1/devices/")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_tokens_that_have_expired_are_forgotten(tokens):
    OutstandingToken.objects.create(jti="old", token="old", expires_at=timezone.now() - timedelta(days=1))
    forget_expired_tokens()
    assert [token.user.username for token in OutstandingToken.objects.all()] == ["alex"]
