import pytest

from apps.events.models import Event, EventComment
from apps.events.tests.factories import EventFactory, RuleFactory

LIST = "/admin/events/event/"

# unfold 0.110 overrides an admin method whose signature Django 6.1 extended
pytestmark = pytest.mark.filterwarnings("ignore:Overriding get_action_choices")


@pytest.fixture
def page(client, admin):
    client.force_login(admin)
    return client


@pytest.fixture
def event(device):
    return EventFactory(device=device, rule=RuleFactory(device=device))


def test_list_takes_as_many_queries_for_many_events_as_for_one(page, device, event, django_assert_max_num_queries):
    page.get(LIST)
    with django_assert_max_num_queries(30) as few:
        assert "Hot bearing" in page.get(LIST).content.decode()
    for _ in range(5):
        EventFactory(device=device, rule=RuleFactory(device=device))
    with django_assert_max_num_queries(len(few)):
        page.get(LIST)


@pytest.mark.parametrize(
    ("action", "status"), [("acknowledge_selected", "acknowledged"), ("resolve_selected", "resolved")]
)
def test_selected_events_are_acknowledged_or_resolved(page, event, action, status):
    response = page.post(LIST, {"action": action, "_selected_action": [event.pk]})

    assert response.status_code == 302
    assert Event.objects.get().status == status


def test_page_shows_the_event_without_secrets(page, device):
    recipient = {"type": "webhook", "url": "https://example.com/", "secret": "whsec_dGVzdA=="}
    event = EventFactory(device=device, execution_results=[{"type": "notification", "recipients": [recipient]}])
    html = page.get(f"{LIST}{event.pk}/change/").content.decode()

    assert "Hot bearing" in html
    assert "whsec" not in html


def test_event_is_not_edited(page, event):
    page.post(f"{LIST}{event.pk}/change/", {"message": "nothing happened", **comment_form("")})

    assert Event.objects.get().message == event.message
    assert page.get(f"{LIST}add/").status_code == 403
    assert page.post(f"{LIST}{event.pk}/delete/").status_code == 403


def test_comment_is_kept_with_its_author(page, event, admin):
    page.post(f"{LIST}{event.pk}/change/", comment_form("Bearing ordered."))

    comment = EventComment.objects.get()
    assert (comment.event, comment.author, comment.body) == (event, admin, "Bearing ordered.")


def comment_form(body):
    counts = {"comments-TOTAL_FORMS": 1, "comments-INITIAL_FORMS": 0}
    return counts | {"comments-0-body": body}
