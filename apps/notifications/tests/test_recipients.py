import pytest

from apps.notifications.recipients import InvalidRecipients, normalise

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("admin@company.com", {"type": "email", "address": "admin@company.com"}),
        (" https://example.com/hook ", {"type": "webhook", "url": "https://example.com/hook"}),
        ("http://127.0.0.1:9000/", {"type": "webhook", "url": "http://127.0.0.1:9000/"}),
    ],
)
def test_text_stands_for_a_recipient(written, stored):
    assert normalise([written]) == [stored]


def test_objects_stay_as_they_are():
    entries = [
        {"type": "email", "address": "ann@example.com", "name": "Ann"},
        {"type": "webhook", "url": "https://example.com/", "secret": SECRET},
    ]
    assert normalise(entries) == entries


def test_recipient_named_twice_is_told_once():
    assert len(normalise(["a@example.com", {"type": "email", "address": "a@example.com"}])) == 1


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("not-an-address", "not an email address"),
        ({"type": "email"}, "'address' is missing"),
        ({"type": "email", "address": 5}, "must be text"),
        ({"type": "webhook", "url": "ftp://example.com/"}, "not an http or https URL"),
        ({"type": "webhook", "url": "https://"}, "not an http or https URL"),
        ({"type": "webhook", "url": "https://example.com:99999/"}, "not an http or https URL"),
        ({"type": "webhook", "url": "https://ex ample.com/"}, "not an http or https URL"),
        ({"type": "webhook", "url": "https://me:pass@example.com/"}, "password"),
        ({"type": "webhook", "url": "https://example.com/", "secret": "short"}, "a secret is"),
        ({"type": "webhook", "url": "https://example.com/", "secrets": SECRET}, "unknown key 'secrets'"),
        ({"type": "pigeon", "loft": "3"}, "unknown type 'pigeon'; there are: chat, email, sms, webhook"),
        ({"address": "a@example.com"}, "unknown type None"),
        ({"type": ["email"]}, "unknown type"),
        (7, "a recipient is"),
        (None, "a recipient is"),
    ],
)
def test_wrong_recipient_is_named_with_its_reason(wrong, complaint):
    with pytest.raises(InvalidRecipients) as refusal:
        normalise(["good@example.com", wrong])
    assert list(refusal.value.errors) == [1]
    assert complaint in refusal.value.errors[1]


@pytest.mark.parametrize("wrong", ["a@example.com", {"type": "email"}, None, 3])
def test_recipients_are_a_list(wrong):
    with pytest.raises(InvalidRecipients, match="a list"):
        normalise(wrong)


def test_recipients_are_limited_in_number():
    with pytest.raises(InvalidRecipients, match="at most 100"):
        normalise([f"p{n}@example.com" for n in range(101)])
