"""What the demo's rules watch for, and whom they tell."""

from dataclasses import dataclass, field

from iot_hub.demo import people
from iot_hub.demo.people import Person

TEMPLATE = {
    "name": "Demo alert",
    "subject_template": "[{{ event.severity }}] {{ rule.name }}: {{ device.name }}",
    "message_template": (
        "{{ event.message }}\n\n"
        "Device: {{ device.name }} ({{ device.serial_number }}), {{ device.location|default:'nowhere' }}\n"
        "Reading: {{ reading.metric }} {{ reading.value }} {{ reading.unit }}\n"
        "Time: {{ event.timestamp|date:'Y-m-d H:i' }} UTC\n"
        "{{ event.url }}\n"
    ),
    "recipients": [{"type": "email", "address": "operations@example.com", "name": "Operations"}],
}
OWN_TEMPLATE = {
    "name": "Cold chain",
    "subject_template": "{{ device.name }}: {{ rule.name }}",
    "message_template": "{{ event.message }}\nPlease look after the goods in {{ device.location }}.\n",
    "recipients": [{"type": "email", "address": people.JORDAN.email, "name": "Jordan"}],
    "retry_delay_minutes": 1,
}

SHARED, COLD_CHAIN = TEMPLATE["name"], OWN_TEMPLATE["name"]


@dataclass(frozen=True, slots=True)
class DemoRule:
    """For the device `serial_number`, or for the owner's devices of `device_type`; `tells` names a template."""

    name: str
    owner: Person
    metric: str
    severity: str
    condition: dict
    serial_number: str = ""
    device_type: str = ""
    description: str = ""
    tells: str = SHARED
    actions: list[dict] = field(default_factory=list)
    cooldown_minutes: int = 15
    is_enabled: bool = True


def threshold(operator: str, value: float | bool | str, **more) -> dict:
    return {"type": "threshold", "operator": operator, "threshold": value, **more}


RULES = [
    DemoRule(
        "Excessive vibration",
        people.ALEX,
        "vibration",
        "critical",
        threshold("gt", 7, clear_threshold=6),
        serial_number="VIB-SN-001",
        description="A bearing that shakes like this is about to go: the press is stopped at once.",
        actions=[{"type": "stop_machine", "machine_id": "M-123"}],
        cooldown_minutes=1,  # so that a newcomer can see it again
    ),
    DemoRule(
        "Hot bearing",
        people.ALEX,
        "temperature",
        "warning",
        threshold("gt", 80, clear_threshold=75, **{"for": "5m"}),
        serial_number="VIB-SN-001",
    ),
    DemoRule(
        "Pressure drop",
        people.ALEX,
        "pressure",
        "warning",
        threshold("lt", 5.5, clear_threshold=5.8, **{"for": "2m"}),
        serial_number="PRS-SN-001",
        description="A leak, or the compressor is off.",
    ),
    DemoRule(
        "Cold room too warm",
        people.JORDAN,
        "temperature",
        "critical",
        threshold("gt", 8, clear_threshold=7, **{"for": "10m"}),
        serial_number="TMP-SN-001",
        tells=COLD_CHAIN,
        cooldown_minutes=30,
    ),
    DemoRule(
        "Door left open",
        people.JORDAN,
        "door_open",
        "warning",
        threshold("eq", True, **{"for": "5m"}),
        device_type="temperature_sensor",
        description="Any of the cold rooms.",
        tells=COLD_CHAIN,
    ),
    DemoRule(
        "Battery low",
        people.JORDAN,
        "battery_level",
        "info",
        threshold("lt", 20, clear_threshold=50),
        device_type="environment_sensor",
        cooldown_minutes=24 * 60,
    ),
    DemoRule(
        "Gateway busy",
        people.ALEX,
        "cpu_load",
        "info",
        threshold("gt", 90, **{"for": "15m"}),
        serial_number="GW-SN-001",
        description="Off until the new firmware is in.",
        is_enabled=False,
    ),
]
