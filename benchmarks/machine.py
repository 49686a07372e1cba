"""What the figures were measured on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import influx
import singles
from services import Database


def describe(database: Database) -> dict[str, str]:
    postgres = database.settings()
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{_memory_gib():.1f} GiB",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": f"{_distribution()}, Linux {platform.release()}",
        "PostgreSQL": f"{postgres.pop('server_version')}, TimescaleDB {postgres.pop('timescaledb')} "
        f"({postgres.pop('timescaledb license')})",
        "durability": ", ".join(f"{name} {value}" for name, value in postgres.items()),
        "Python": f"{platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "compared with": influx.version() if influx.is_there() else influx.MISSING,
        "wrk": "is there" if singles.is_there() else singles.MISSING,
    }


PACKAGES = ("uvicorn", "Django", "psycopg2-binary", "msgspec", "numpy")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "")
