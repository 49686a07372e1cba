"""Places, kinds of devices, metrics, and the devices with what they measure."""

from dataclasses import dataclass, field

from apps.devices.models import Device, Metric
from iot_hub.demo import people, signals
from iot_hub.demo.people import Person
from iot_hub.demo.signals import Signal

NUMERIC, BOOLEAN, STRING = Metric.DataType.NUMERIC, Metric.DataType.BOOLEAN, Metric.DataType.STRING

# Name, parent, latitude, longitude; parents come first.
LOCATIONS = [
    ("Riverside Plant", None, 50.0755, 14.4378),
    ("Hall A", "Riverside Plant", 50.0757, 14.4381),
    ("Press line", "Hall A", None, None),
    ("Compressor room", "Riverside Plant", 50.0752, 14.4372),
    ("City Laboratory", None, 50.0880, 14.4208),
    ("Cold store", "City Laboratory", None, None),
    ("Server room", "City Laboratory", None, None),
]

# Name, description, primary metric, unit, expected minimum and maximum.
DEVICE_TYPES = [
    ("vibration_sensor", "Vibration velocity and temperature of a bearing", "vibration", "mm/s", 0, 10),
    ("temperature_sensor", "Air temperature, with a door contact", "temperature", "°C", -30, 60),
    ("pressure_sensor", "Pressure of compressed air", "pressure", "bar", 0, 16),
    ("environment_sensor", "Battery-powered climate sensor", "humidity", "%", 0, 100),
    ("machine_controller", "Control unit of a machine, takes commands", "power", "kW", 0, 40),
    ("gateway", "Reports for the devices behind it", "cpu_load", "%", 0, 100),
]

# Name, data type, unit, description.
METRICS = [
    ("vibration", NUMERIC, "mm/s", "Vibration velocity, root mean square"),
    ("temperature", NUMERIC, "°C", ""),
    ("humidity", NUMERIC, "%", "Relative humidity"),
    ("pressure", NUMERIC, "bar", "Above atmosphere"),
    ("power", NUMERIC, "kW", "Electric power drawn"),
    ("operating_hours", NUMERIC, "h", "Hours run since commissioning"),
    ("battery_level", NUMERIC, "%", ""),
    ("cpu_load", NUMERIC, "%", ""),
    ("door_open", BOOLEAN, "", "Whether the door stands open"),
    ("state", STRING, "", "What the machine is doing"),
]


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """`silent_for` is how many minutes ago it fell silent; `signals` are by metric name."""

    serial_number: str
    name: str
    device_type: str
    owner: Person
    location: str
    signals: dict[str, Signal]
    parent: str = ""
    status: str = Device.Status.ACTIVE
    silent_for: int = 0
    metadata: dict = field(default_factory=dict)


GATEWAY = DemoDevice(
    "GW-SN-001",
    "Hall A gateway",
    "gateway",
    people.ALEX,
    "Hall A",
    {"cpu_load": signals.shift(18, 42, noise=4)},
    metadata={"firmware": "2.8.1"},
)
PRESS_1 = DemoDevice(
    "VIB-SN-001",
    "Press 1 bearing",
    "vibration_sensor",
    people.ALEX,
    "Press line",
    {
        "vibration": signals.shift(0.3, 3.4, noise=0.22),
        "temperature": signals.shift(28, 52, noise=0.8, inertia=60),
        "operating_hours": signals.hours_run(1250),
    },
    parent="GW-SN-001",
    metadata={"machine": "M-123"},
)
PRESS_2 = DemoDevice(
    "VIB-SN-002",
    "Press 2 bearing",
    "vibration_sensor",
    people.ALEX,
    "Press line",
    {
        "vibration": signals.shift(0.3, 2.6, noise=0.18),
        "temperature": signals.shift(27, 47, noise=0.7, inertia=60),
    },
    parent="GW-SN-001",
)
CONTROLLER = DemoDevice(
    "M-123",
    "Press 1 controller",
    "machine_controller",
    people.ALEX,
    "Press line",
    {"power": signals.shift(1.2, 22, noise=1.1), "state": signals.shift_state("idle", "running")},
    parent="GW-SN-001",
    metadata={"firmware": "5.0.3"},
)
COMPRESSOR = DemoDevice(
    "PRS-SN-001",
    "Compressor outlet",
    "pressure_sensor",
    people.ALEX,
    "Compressor room",
    {
        "pressure": signals.shift(7.4, 6.9, noise=0.05),
        "temperature": signals.daily(24, 38, peak_hour=15, noise=0.4),
    },
    parent="GW-SN-001",
)
COLD_ROOM_1 = DemoDevice(
    "TMP-SN-001",
    "Cold room 1",
    "temperature_sensor",
    people.JORDAN,
    "Cold store",
    {
        "temperature": signals.daily(3.6, 4.8, peak_hour=14, noise=0.12),
        "humidity": signals.daily(62, 71, peak_hour=5, noise=0.8),
        "door_open": signals.openings(per_hour=3),
    },
)
COLD_ROOM_2 = DemoDevice(
    "TMP-SN-002",
    "Cold room 2",
    "temperature_sensor",
    people.JORDAN,
    "Cold store",
    {
        "temperature": signals.daily(-19.5, -18.2, peak_hour=15, noise=0.15),
        "door_open": signals.openings(per_hour=1),
    },
)
SERVER_ROOM = DemoDevice(
    "ENV-SN-001",
    "Server room climate",
    "environment_sensor",
    people.JORDAN,
    "Server room",
    {
        "temperature": signals.daily(20.5, 23.5, peak_hour=16, noise=0.15),
        "humidity": signals.daily(38, 46, peak_hour=6, noise=0.6),
        "battery_level": signals.falling(34, per_day=2.4),
    },
)
LOADING_DOCK = DemoDevice(
    "TMP-SN-003",
    "Loading dock",
    "temperature_sensor",
    people.JORDAN,
    "City Laboratory",
    {"temperature": signals.daily(6, 17, peak_hour=15, noise=0.3)},
    status=Device.Status.ERROR,
    silent_for=2 * 24 * 60 + 190,
)

# Gateways come before what reports through them.
DEVICES = [
    GATEWAY,
    PRESS_1,
    PRESS_2,
    CONTROLLER,
    COMPRESSOR,
    COLD_ROOM_1,
    COLD_ROOM_2,
    SERVER_ROOM,
    LOADING_DOCK,
]
DATA_TYPES = {name: data_type for name, data_type, *_ in METRICS}
