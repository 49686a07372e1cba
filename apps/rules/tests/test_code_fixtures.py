"""Testing rules as code. No test here may use the database: that it is not needed is what they show."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

RULES = """
rules:
  - key: hot-bearing
    name: Hot bearing
    device: VIB-SN-001
    metric: temperature
    severity: warning
    severity_after: [{after: 20m, severity: critical}]
    condition: {type: threshold, operator: gt, threshold: 80, for: 5m, clear_threshold: 75}
  - key: silent
    name: Silent
    device: VIB-SN-001
    metric: temperature
    condition: {type: no_data, after: 10m}
  - key: both
    name: Both
    device: VIB-SN-001
    condition:
      type: all
      conditions:
        - {metric: temperature, type: threshold, operator: gt, threshold: 80}
        - {metric: vibration, type: threshold, operator: gt, threshold: 7}
  - key: at-night
    name: At night
    device_type: cold_room
    metric: door_open
    condition: {type: threshold, operator: eq, threshold: true}
    schedule: {timezone: UTC, hours: [{start: 22:00, end: 06:00}]}
tests:
"""
PASSING = """
  - name: Opens after five minutes, clears below 75, is taken more seriously after twenty
    rule: hot-bearing
    start: 2026-11-20T10:00:00Z
    samples: [[0s, 85], [4m, 90], [5m, 85], [6m, 78], [26m, 79], [27m, 74]]
    expect: [[5m, opened], [25m, raised], [27m, cleared]]
  - rule: hot-bearing
    csv: readings.csv
    expect: []
  - rule: silent
    samples: [[0s, 1], [5m, 1]]
    until: 30m
    expect: [[15m, opened]]
  - rule: both
    series:
      temperature: [[0s, 85], [2m, 70]]
      vibration: [[0s, 1], [1m, 8]]
    expect: [[1m, opened], [2m, cleared]]
  - rule: at-night
    start: 2026-11-20T21:00:00+00:00
    samples: [[0s, true], [30m, true], [1h, true], [2h, false]]
    expect: [[1h, opened], [2h, cleared]]
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the tests of a document; returns what was printed, and the complaint if there was one."""
    (tmp_path / "readings.csv").write_text("timestamp,metric,value\n2026-11-20T10:00:00Z,temperature,90\n")

    def call(tests: str, rules: str = RULES) -> tuple[str, str]:
        file = tmp_path / "rules.yml"
        file.write_text(rules + tests)
        complaint = ""
        try:
            call_command("rules", "test", str(file))
        except CommandError as error:
            complaint = str(error).replace(str(file), "rules.yml")
        return capsys.readouterr().out, complaint

    return call


def test_rules_that_do_as_expected_pass(run):
    out, complaint = run(PASSING)

    assert complaint == ""
    assert out.count("ok    ") == 5
    assert "5 tests passed." in out


def test_what_happens_otherwise_is_shown_as_a_difference(run):
    out, complaint = run("  - {rule: hot-bearing, samples: [[0s, 85], [6m, 85]], expect: [[5m, opened]]}\n")

    assert "FAILED hot-bearing" in out
    assert "- 5m opened" in out
    assert "+ 6m opened" in out
    assert complaint.startswith("1 of 1 tests failed")


def test_samples_that_come_late_are_not_judged(run):
    assert run("  - {rule: hot-bearing, samples: [[9m, 70], [0s, 85], [8m, 85]], expect: []}\n")[1] == ""


@pytest.mark.parametrize(
    ("tests", "complaint"),
    [
        (
            "  - {rule: cold, samples: [], expect: []}",
            "rules.yml:30: rule: The document has no rule with the key 'cold'.",
        ),
        ("  - {rule: silent, samples: [], expects: []}", "rules.yml:30: expects: Unknown field of a test."),
        ("  - {rule: silent, expect: []}", "rules.yml:30: A test has either samples, series"),
        (
            "  - rule: silent\n    expect: []\n    samples:\n      - [soon, 1]",
            "rules.yml:33: samples.0: A duration such",
        ),
        ("  - rule: silent\n    samples: []\n    expect: [[1m, fired]]", "rules.yml:32: expect.0: A pair of offset"),
        ("  - {rule: silent, csv: gone.csv, expect: []}", "rules.yml:30: csv: Can't be read"),
        ("  - {rule: silent, start: noon, samples: [], expect: []}", "rules.yml:30: start: A time such as"),
    ],
)
def test_what_is_wrong_with_a_test_is_told_with_its_line(run, tests, complaint):
    assert run(tests)[1].startswith(complaint)


def test_all_problems_are_told_at_once(run):
    rules = RULES.replace("threshold: 80, for: 5m", "threshold: x, for: 5m").replace("after: 10m}", "after: often}")
    lines = run("  - {rule: cold, samples: [], expect: []}", rules)[1].splitlines()

    assert [line.split(":")[1] for line in lines] == ["9", "14", "30"]
    assert "condition" in lines[0]


def test_command_needs_no_database_server(tmp_path):
    file = tmp_path / "rules.yml"
    (tmp_path / "readings.csv").write_text("offset,value\n0s,90\n")
    file.write_text(RULES + PASSING)
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "manage.py", "rules", "test", str(file)]
    done = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    failing = RULES + "  - {rule: hot-bearing, samples: [[0s, 1]], expect: [[0s, opened]]}\n"
    file.write_text(failing)
    assert subprocess.run(command, env=os.environ | nowhere, capture_output=True, check=False).returncode == 1
