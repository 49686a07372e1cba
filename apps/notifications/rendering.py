"""Messages from templates that people wrote, in a sandbox that knows plain values only."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.template import Context, Engine, Template

MAX_TEMPLATE = 10_000
MAX_MESSAGE = 10_000
MAX_SUBJECT = 255
MAX_VALUE = 2_000

# What the test button shows, and what a template is tried with when it is saved.
SAMPLE = {
    "event": {
        "id": 0,
        "severity": "warning",
        "status": "new",
        "message": "Hot bearing: temperature > 80 °C, measured 85.5 on Press 1",
        "timestamp": "2026-01-31T10:00:00+00:00",
        "url": "",
    },
    "rule": {"id": None, "name": "Hot bearing", "description": "A sample, nothing is hot."},
    "device": {
        "id": None,
        "name": "Press 1",
        "serial_number": "VIB-SN-001",
        "type": "vibration sensor",
        "location": "Hall 2",
    },
    "reading": {
        "metric": "temperature",
        "value": 85.5,
        "unit": "°C",
        "timestamp": "2026-01-31T10:00:00+00:00",
    },
}


class SandboxEngine(Engine):
    default_builtins = ["apps.notifications.placeholders"]


ENGINE = SandboxEngine(loaders=[], autoescape=False)


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    error: str = ""


def render(*, subject: str, message: str, context: dict[str, Any]) -> Rendered:
    """Fill the placeholders. A broken template gives the plain text, and `error` says what is wrong."""
    plain = plain_text(context)
    try:
        filled = _fill(subject, context) if subject else plain.subject
        return Rendered(_one_line(filled), _cut(_fill(message, context), MAX_MESSAGE))
    except Exception as error:  # whatever a template brings about, somebody waits for the message
        why = f"The template failed, a plain text went out instead: {_describe(error)}"
        return Rendered(plain.subject, plain.text, why)


def plain_text(context: dict[str, Any]) -> Rendered:
    """What is told where no template says it better."""
    event, rule, device, reading = (context[key] for key in ("event", "rule", "device", "reading"))
    subject = f"[{event['severity']}] {rule['name'] or 'Event'}: {device['name']}"
    lines = [
        event["message"],
        f"Device: {device['name']} ({device['serial_number']})",
        f"Reading: {reading['metric']} {reading['value']} {reading['unit']}".rstrip(),
        f"Time: {event['timestamp']}",
        event["url"],
    ]
    return Rendered(_one_line(subject), _cut("\n".join(line for line in lines if line), MAX_MESSAGE))


def check(source: str) -> None:
    """Raises ValueError with a sentence for the author if the template can't be filled."""
    try:
        _fill(source, SAMPLE)
    except Exception as error:
        raise ValueError(_describe(error)) from error


def _fill(source: str, context: dict[str, Any]) -> str:
    if len(source) > MAX_TEMPLATE:
        raise ValueError(f"longer than {MAX_TEMPLATE} characters")
    values = {name: _read_only(group) for name, group in context.items()}
    return Template(source, engine=ENGINE).render(Context(values, autoescape=False))


def _read_only(group: dict[str, Any]) -> MappingProxyType:
    """Templates call what they find: `{{ device.clear }}` would empty a dict."""
    return MappingProxyType({key: _plain(item) for key, item in group.items()})


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, bool | int | float) else str(value)[:MAX_VALUE]


def _one_line(text: str) -> str:
    return _cut(" ".join(text.split()), MAX_SUBJECT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _describe(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)[:500] or type(error).__name__
