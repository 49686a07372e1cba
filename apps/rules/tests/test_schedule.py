from datetime import UTC, datetime

import pytest

from apps.rules.schedule import parse
from apps.rules.terms import to_micros


def is_active(hours, moment, timezone="Europe/Vienna"):
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return parse({"timezone": timezone, "hours": [hours]}).is_active(to_micros(at))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20T06:59", False),  # a Friday; Vienna is an hour ahead of UTC in winter
        ("2026-11-20T07:00", True),
        ("2026-11-20T15:59", True),
        ("2026-11-20T16:00", False),
        ("2026-11-21T08:00", False),
        ("2026-07-03T06:00", True),  # and two in summer
    ],
)
def test_hours_are_those_of_the_place(moment, expected):
    assert is_active({"weekdays": ["fri"], "start": "08:00", "end": "17:00"}, moment) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20T22:30", True),
        ("2026-11-21T04:30", True),
        ("2026-11-20T04:30", False),
        ("2026-11-21T22:30", False),
    ],
)
def test_night_belongs_to_the_day_on_which_it_starts(moment, expected):
    assert is_active({"weekdays": ["fri"], "start": "22:00", "end": "06:00"}, moment) is expected


def test_from_a_time_to_the_same_is_a_whole_day():
    assert is_active({"start": "00:00", "end": "00:00"}, "2026-11-20T12:00")


def test_without_a_schedule_a_rule_is_always_active():
    assert parse(None) is None
