import pytest

from apps.rules.conditions import ConditionError, Verdict, check, parse, parse_duration, show

HOT = {"type": "threshold", "operator": "gt", "threshold": 80}


def verdict(condition, value) -> Verdict:
    return condition.observe({}, 0, value)


@pytest.mark.parametrize(
    ("operator", "holding", "quiet"),
    [
        ("gt", 80.1, 80.0),
        ("gte", 80.0, 79.9),
        ("lt", 79.9, 80.0),
        ("lte", 80.0, 80.1),
        ("eq", 80.0, 80.1),
        ("neq", 80.1, 80.0),
    ],
)
def test_each_operator_holds_on_its_side_of_the_threshold(operator, holding, quiet):
    condition = parse(HOT | {"operator": operator})

    assert verdict(condition, holding) is Verdict.HOLDS
    assert verdict(condition, quiet) is Verdict.CLEAR


def test_text_compares_by_equality():
    condition = parse({"type": "threshold", "operator": "neq", "threshold": "ok"})

    assert verdict(condition, "fault") is Verdict.HOLDS
    assert verdict(condition, "ok") is Verdict.CLEAR


def test_value_of_another_type_never_holds():
    assert verdict(parse({"type": "threshold", "operator": "neq", "threshold": "ok"}), 5.0) is Verdict.CLEAR


def test_clear_threshold_keeps_it_from_clearing_too_early():
    condition = parse(HOT | {"clear_threshold": 75})

    assert verdict(condition, 78.0) is Verdict.BETWEEN
    assert verdict(condition, 75.0) is Verdict.CLEAR


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"type": "magic"}, "type", "unknown_type"),
        ({"operator": "above"}, "operator", "unknown_operator"),
        ({"threshold": None}, "threshold", "required"),
        ({"threshold": [1]}, "threshold", "invalid"),
        ({"threshold": float("nan")}, "threshold", "invalid"),
        ({"threshold": 10**400}, "threshold", "invalid"),
        ({"threshold": "hot"}, "operator", "invalid"),
        ({"for": "soon"}, "for", "invalid_duration"),
        ({"for": -5}, "for", "invalid_duration"),
        ({"clear_threshold": 90}, "clear_threshold", "impossible_hysteresis"),
        ({"treshold": 80}, "treshold", "unknown_field"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(change, field, code):
    with pytest.raises(ConditionError) as caught:
        parse(HOT | change)

    assert (caught.value.field, caught.value.code) == (field, code)


def test_condition_that_is_no_object_is_refused():
    with pytest.raises(ConditionError):
        parse("temperature > 80")


def test_threshold_must_fit_the_data_type_of_the_metric():
    with pytest.raises(ConditionError, match="true or false"):
        check(parse(HOT), data_type="boolean", data_types={}, retention=None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h 30m", 5400), ("0.5s", 0.5), ("250ms", 0.25), (7, 7)]
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text, "for") == seconds * 1_000_000


def test_values_are_shown_without_noise():
    assert [show(value) for value in (5.0, 5.25, True, "open")] == ["5", "5.25", "true", '"open"']
