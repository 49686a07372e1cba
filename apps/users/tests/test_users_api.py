import threading

import pytest
from django.db import connections

from apps.users.models import User
from apps.users.tests.factories import UserFactory

NEW = {"username": "casey", "email": "casey@example.com", "password": "a-Long-passw0rd"}


def error_of(answer) -> tuple[str, str]:
    assert answer.status_code == 400, answer.content
    [error] = answer.json()["errors"]
    return error["field"], error["code"]


def test_admin_creates_a_client_who_can_log_in(api, admin):
    answer = api(admin).post("/api/v1/users/", NEW)
    assert answer.status_code == 201
    assert answer.json()["role"] == "client"
    assert "password" not in answer.json()
    assert api().post("/api/v1/auth/token/", NEW).status_code == 200


def test_admin_changes_and_deletes_an_account(api, admin, alex):
    answer = api(admin).patch(f"/api/v1/users/{alex.pk}/", {"role": "admin"})
    assert answer.json()["role"] == "admin"
    assert User.objects.get(pk=alex.pk).is_staff
    assert api(admin).delete(f"/api/v1/users/{alex.pk}/").status_code == 204


@pytest.mark.parametrize("method", ["get", "post"])
def test_clients_do_not_manage_accounts(api, alex, method):
    assert getattr(api(alex), method)("/api/v1/users/").status_code == 403


def test_client_does_not_learn_which_accounts_exist(api, alex, jordan):
    there = api(alex).get(f"/api/v1/users/{jordan.pk}/")
    nowhere = api(alex).get("/api/v1/users/999999/")
    assert (there.status_code, there.json()) == (nowhere.status_code, nowhere.json())


def test_email_is_unique_whatever_its_case(api, admin, alex):
    answer = api(admin).post("/api/v1/users/", NEW | {"email": "ALEX@example.com"})
    assert error_of(answer) == ("email", "unique")


def test_username_is_unique(api, admin, alex):
    assert error_of(api(admin).post("/api/v1/users/", NEW | {"username": "alex"})) == ("username", "unique")


@pytest.mark.parametrize("password", ["12345678901", "password", "casey@example.com", "short"])
def test_passwords_that_are_easy_to_guess_are_refused(api, admin, password):
    answer = api(admin).post("/api/v1/users/", NEW | {"password": password})
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {"password"}
    assert not User.objects.filter(username="casey").exists()


def test_account_that_owns_devices_is_not_deleted(api, admin, device):
    answer = api(admin).delete(f"/api/v1/users/{device.owner_id}/")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "Still in use by: device."


def test_admins_do_not_lock_themselves_out(api, admin):
    path = f"/api/v1/users/{admin.pk}/"
    assert error_of(api(admin).patch(path, {"role": "client"})) == ("role", "invalid")
    assert error_of(api(admin).patch(path, {"is_active": False})) == ("is_active", "invalid")
    assert api(admin).delete(path).status_code == 400


def test_everybody_reads_and_edits_their_own_account(api, alex):
    assert api(alex).get("/api/v1/users/me/").json()["username"] == "alex"
    answer = api(alex).patch("/api/v1/users/me/", {"first_name": "Alex", "password": "an-Other-passw0rd"})
    assert answer.json()["first_name"] == "Alex"
    alex.refresh_from_db()
    assert alex.check_password("an-Other-passw0rd")


def test_nobody_gives_themselves_a_role(api, alex):
    answer = api(alex).patch("/api/v1/users/me/", {"role": "admin", "username": "root", "is_active": False})
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("role", "username", "is_active")} == {
        "role": "client",
        "username": "alex",
        "is_active": True,
    }


def test_users_are_found_by_role_and_search(api, admin, alex, jordan):
    def found(query: str) -> list[str]:
        results = api(admin).get(f"/api/v1/users/?{query}").json()["results"]
        return sorted(user["username"] for user in results)

    assert found("role=client") == ["alex", "jordan"]
    assert found("search=JORD") == ["jordan"]


def test_list_of_users_takes_one_query(api, admin, django_assert_num_queries):
    UserFactory.create_batch(3)
    with django_assert_num_queries(1):
        api(admin).get("/api/v1/users/")


@pytest.mark.django_db(transaction=True)
def test_two_accounts_at_once_with_one_email_end_in_one_account_and_one_refusal(api):
    admin = UserFactory(role="admin")
    answers = []

    def create(username):
        email = "casey@example.com" if username == "one" else "Casey@example.com"
        answers.append(api(admin).post("/api/v1/users/", NEW | {"username": username, "email": email}))
        connections.close_all()

    threads = [threading.Thread(target=create, args=[name]) for name in ("one", "two")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(answer.status_code for answer in answers) == [201, 400]
    refused = next(answer for answer in answers if answer.status_code == 400)
    assert error_of(refused) == ("email", "unique")
    assert User.objects.filter(email__iexact="casey@example.com").count() == 1


def test_owner_of_devices_can_be_deactivated(api, admin, device):
    answer = api(admin).patch(f"/api/v1/users/{device.owner_id}/", {"is_active": False})
    assert answer.status_code == 200


def test_person_sets_a_time_zone_that_exists(api, alex):
    assert api(alex).patch("/api/v1/users/me/", {"timezone": "Europe/Kyiv"}).json()["timezone"] == "Europe/Kyiv"
    assert error_of(api(alex).patch("/api/v1/users/me/", {"timezone": "Mars/Olympus"})) == (
        "timezone",
        "invalid_timezone",
    )
    assert api(alex).patch("/api/v1/users/me/", {"timezone": ""}).json()["timezone"] == ""
