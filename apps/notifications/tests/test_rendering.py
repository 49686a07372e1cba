import pytest

from apps.notifications import rendering
from apps.notifications.rendering import SAMPLE, render


def text(message, context=SAMPLE):
    rendered = render(subject="", message=message, context=context)
    assert rendered.error == ""
    return rendered.text


def with_device(**fields):
    return SAMPLE | {"device": SAMPLE["device"] | fields}


def test_placeholders_are_filled():
    template = "{{ event.severity }}: {{ rule.name }}, {{ device.name }} {{ reading.value }} {{ reading.unit }}"

    assert text(template) == "warning: Hot bearing, Press 1 85.5 °C"


def test_text_is_not_escaped_for_html():
    assert text("{{ device.name }}", with_device(name="<Press> & 'Co'")) == "<Press> & 'Co'"


def test_value_is_not_a_template():
    assert text("{{ device.name }}", with_device(name="{{ rule.name }}")) == "{{ rule.name }}"


def test_usual_filters_work():
    assert text("{{ reading.value|floatformat:2 }}") == "85.50"
    assert text('{{ event.timestamp|date:"d.m.Y H:i" }}') == "31.01.2026 10:00"
    assert text('{{ device.nothing|default:"none" }}') == "none"
    assert text("{% if reading.value > 80 %}hot{% else %}fine{% endif %}") == "hot"


def test_missing_value_is_left_blank():
    assert text("[{{ device.id }}{{ reading.unknown }}{{ nothing.at.all }}]") == "[]"


@pytest.mark.parametrize(
    "template",
    [
        "{{ device.name.__class__ }}",
        "{% load static %}",
        '{% include "base.html" %}',
        '{% extends "base.html" %}',
        "{% for x in rule.name %}{{ x }}{% endfor %}",
        "{% debug %}",
        "{{ rule.name|ljust:100000000 }}",
        "{{ rule.name|unknown }}",
        "{% if %}",
        "{% if rule.name %}" * 400 + "{% endif %}" * 400,
        "{{ reading.value|floatformat:device.name }}",
        "x" * 10_001,
    ],
)
def test_broken_or_dangerous_template_gives_the_plain_text(template):
    rendered = render(subject="{{ rule.name }}", message=template, context=SAMPLE)

    assert rendered.error
    assert "Reading: temperature 85.5 °C" in rendered.text
    assert rendered.subject == "[warning] Hot bearing: Press 1"


def test_error_says_what_is_wrong():
    assert "Invalid filter: 'unknown'" in render(subject="", message="{{ a|unknown }}", context=SAMPLE).error


def test_template_cannot_change_what_others_read():
    context = with_device(name="Press 1")

    assert text("{{ device.clear }}{{ device.popitem }}{{ device.name }}", context) == "Press 1"
    assert context == with_device(name="Press 1")


def test_number_of_digits_is_limited():
    assert len(text("{{ reading.value|floatformat:100000000 }}")) < 20


def test_message_is_limited_in_length():
    context = with_device(name="x" * 100_000)

    assert len(text("{{ device.name }}" * 500, context)) == rendering.MAX_MESSAGE


def test_subject_is_one_line():
    rendered = render(subject="{{ device.name }}", message="", context=with_device(name="a\r\nBcc: b\tc"))

    assert rendered.subject == "a Bcc: b c"


def test_without_a_subject_the_usual_one_is_taken():
    assert render(subject="", message="x", context=SAMPLE).subject == "[warning] Hot bearing: Press 1"


def test_check_names_a_syntax_error():
    with pytest.raises(ValueError, match="Unclosed tag"):
        rendering.check("{% if rule.name %}")
