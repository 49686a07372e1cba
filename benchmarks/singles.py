"""Single messages at 64 connections, by wrk."""

import json
import resource
import shutil
import subprocess
from pathlib import Path

import window
from messages import DEVICES, METRICS, STEP_MS, Timeline
from processes import wait_until
from target import Failure, Meter, Result, Target

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("single.lua")
MISSING = "wrk is not on this machine (Debian and Ubuntu: apt-get install wrk)"


def is_there() -> bool:
    return shutil.which("wrk") is not None


def measure(part: str, target: Target, timeline: Timeline, *, seconds: float) -> Result:
    target.store.clear()
    warm = _run(target, timeline, window.WARM_UP)
    meter = Meter(lambda: _cpu(target))
    told = _run(target, timeline, seconds)
    cpu = meter.read()
    _check(part, warm["requests"] + told["requests"], target)
    rate = told["requests"] / told["seconds"]
    return Result(
        part,
        connections=CONNECTIONS,
        requests=rate,
        values=rate * len(METRICS),
        failed=told["bad_status"] + told["broken"],
        cpu=cpu,
        **{name: told[name] for name in ("mean_ms", "p50_ms", "p99_ms")},
    )


def _run(target: Target, timeline: Timeline, seconds: float) -> dict:
    """What wrk says at the end. Times are taken for what it may have sent, which is known only then."""
    first = timeline.take(0)
    done = subprocess.run(
        [
            *["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{max(1, round(seconds))}s"],
            *["--timeout", "30s", "--script", str(SCRIPT), f"http://127.0.0.1:{target.port}{target.path}", "--"],
            *[target.form, target.head, str(first), str(STEP_MS), str(DEVICES)],
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise Failure(f"wrk failed: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    timeline.take((told["requests"] + CONNECTIONS) // DEVICES + 2)
    return told


def _check(part: str, answered: int, target: Target) -> None:
    """wrk leaves while requests of all its connections are under way, in the warm-up and in the run."""
    least = answered * len(METRICS)
    most = least + 2 * CONNECTIONS * len(METRICS)
    if not wait_until(lambda: least <= target.store.count() <= most, seconds=10):
        raise Failure(f"{part}: {least:,} values were acknowledged and the table holds {target.store.count():,}.")


def _cpu(target: Target) -> dict[str, float]:
    wrk = resource.getrusage(resource.RUSAGE_CHILDREN)
    return target.cpu() | {"generator": wrk.ru_utime + wrk.ru_stime}
