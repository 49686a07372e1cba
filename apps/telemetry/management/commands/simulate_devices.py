"""`manage.py simulate_devices`: posts live readings over HTTP, as devices do, so that something moves."""

import signal
import time
from dataclasses import dataclass
from random import Random

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.devices import services as device_services
from apps.devices.models import Device, DeviceKey
from apps.telemetry import simulation

DEVICES_AT_MOST = 100
TIMEOUT = 10
TRIES = 7  # a minute in all
SLOWEST_RETRY = 20
PASSING = {429, 502, 503, 504}


@dataclass
class Gateway:
    """Speaks for the devices of one owner, with a key of its own."""

    owner: str
    devices: list[tuple[Device, list[simulation.Source]]]
    key: DeviceKey
    secret: str


class Command(BaseCommand):
    help = "Posts live readings of the active devices to a running hub. Ctrl-C ends it."

    def add_arguments(self, parser):
        parser.add_argument("--url", default=settings.PUBLIC_URL, help="Where the hub is (%(default)s).")
        parser.add_argument("--interval", type=float, default=5, help="Seconds between rounds (%(default)s).")
        parser.add_argument("--count", type=int, help="Stop after so many rounds; every device speaks in each.")
        parser.add_argument("--serial", action="append", help="Only this device; repeat it for several.")
        parser.add_argument("--anomaly", action="store_true", help="Send values beyond all that was seen.")

    def handle(self, *, url: str, interval: float, count: int | None, serial, anomaly: bool, **options):
        # Ended from outside, the keys are to be revoked too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.random, self.anomaly = Random(), anomaly  # noqa: S311 - no secret
        self.endpoint = f"{url.rstrip('/')}/api/v1/telemetry/"
        gateways = []
        try:
            for owner_devices in _by_owner(serial):
                gateways.append(_gateway(owner_devices))
            self._run(gateways, interval, count)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            for gateway in gateways:
                device_services.revoke_key(key=gateway.key, now=timezone.now())

    def _run(self, gateways: list[Gateway], interval: float, count: int | None) -> None:
        begin, rounds = time.monotonic(), 0
        while count is None or rounds < count:
            time.sleep(max(0.0, begin + rounds * interval - time.monotonic()))
            for gateway in gateways:
                self._speak(gateway)
            rounds += 1

    def _speak(self, gateway: Gateway) -> None:
        now = timezone.now()
        messages = [
            simulation.message(device, sources, random=self.random, anomaly=self.anomaly, now=now)
            for device, sources in gateway.devices
        ]
        response = self._post(messages, gateway.secret)
        self.stdout.write(f"{now:%H:%M:%S} {gateway.owner}, {len(messages)} devices: {_receipt(response)}")

    def _post(self, messages: list[dict], secret: str) -> requests.Response:
        """Tries again while the hub is away or asks to wait; the readings are the same, so none doubles."""
        for attempt in range(TRIES):
            wait = min(2**attempt, SLOWEST_RETRY)
            try:
                response = requests.post(
                    self.endpoint,
                    json=messages,
                    headers={"Authorization": f"Token {secret}"},
                    timeout=TIMEOUT,
                )
            except requests.RequestException as error:
                trouble = f"The hub does not answer at {self.endpoint} ({_reason(error)})."
            else:
                if response.status_code not in PASSING:
                    return response
                wait = _retry_after(response) or wait
                trouble = f"The hub answers {response.status_code}: {_detail(response)}"
            if attempt + 1 < TRIES:
                self.stderr.write(f"{trouble} Trying again in {wait} s.")
                time.sleep(wait)
        raise CommandError(f"{trouble} Given up.")


def _by_owner(serial_numbers: list[str] | None) -> list[list[Device]]:
    devices = Device.objects.select_related("owner", "device_type").filter(status=Device.Status.ACTIVE)
    devices = devices.order_by("owner", "serial_number")
    if serial_numbers:
        devices = devices.filter(serial_number__in=serial_numbers)
    chosen: dict[int, list[Device]] = {}
    for device in devices[:DEVICES_AT_MOST]:
        chosen.setdefault(device.owner_id, []).append(device)
    known = {device.serial_number for devices in chosen.values() for device in devices}
    if missing := set(serial_numbers or ()) - known:
        raise CommandError(f"There is no active device with the serial number {', '.join(sorted(missing))}.")
    if not chosen:
        raise CommandError("There are no active devices. Register one, or run manage.py seed_dev_data.")
    return list(chosen.values())


def _gateway(devices: list[Device]) -> Gateway:
    now = timezone.now()
    key, secret = device_services.issue_key(device=devices[0], name="simulator", scope="owner", now=now)
    talkers = [(device, simulation.sources_of(device, now=now)) for device in devices]
    return Gateway(devices[0].owner.username, talkers, key, secret)


def _receipt(response: requests.Response) -> str:
    try:
        receipt = response.json()
        text = f"{receipt['accepted']} readings stored"
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"The hub answers {response.status_code}: {_detail(response)}") from None
    rejected = receipt.get("rejected") or []
    reasons = {f"{entry.get('metric')}: {entry.get('code')}" for entry in rejected}
    return text + (f", {receipt['rejected_count']} rejected ({', '.join(sorted(reasons))})" if reasons else "")


def _detail(response: requests.Response) -> str:
    try:
        return response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.reason or "no reason given"


def _reason(error: requests.RequestException) -> str:
    """The innermost of the errors that requests wraps around each other."""
    inner: BaseException = error
    while inner.__context__ is not None:
        inner = inner.__context__
    return getattr(inner, "strerror", None) or type(error).__name__


def _retry_after(response: requests.Response) -> int:
    value = response.headers.get("Retry-After", "")
    return min(int(value), 60) if value.isdigit() else 0
