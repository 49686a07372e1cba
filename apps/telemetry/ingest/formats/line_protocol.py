"""InfluxDB's line protocol, so that its clients and collectors write to the hub unchanged.

vibration,serial_number=VIB-SN-001 vibration=5.2,rpm=1480i,door_open=f,state="ok" 1795219200000000000

The device is the tag `serial_number`, `sensor_id` or `device`, in this order; each field is a metric. The measurement
and all other tags are ignored. A point of the same device, metric and time (in µs) overwrites the one before.
The syntax: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import re
import struct
from collections.abc import Mapping

import msgspec
import numpy as np
from line_protocol_parser import LineFormatError, parse_line

from apps.telemetry.ingest.batch import array_of
from apps.telemetry.ingest.errors import IngestError, Malformed, TooLarge
from apps.telemetry.ingest.formats import like_lines
from apps.telemetry.ingest.formats.columns import MessageColumns
from apps.telemetry.ingest.receipt import Receipt

# A unit of time in µs, as a fraction.
V2_UNITS: Mapping[str, tuple[int, int]] = {"ns": (1, 1000), "us": (1, 1), "ms": (1000, 1), "s": (1_000_000, 1)}
V1_UNITS = V2_UNITS | {
    "n": V2_UNITS["ns"],
    "u": V2_UNITS["us"],
    "µ": V2_UNITS["us"],
    "m": (60_000_000, 1),
    "h": (3_600_000_000, 1),
}
CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    413: "request too large",
    415: "unsupported media type",
    422: "unprocessable entity",
    429: "too many requests",
    503: "unavailable",
}

# No real body within the limit of bytes has as many; one made for it would take a hundred times its size in memory.
MAX_LINES = 500_000
MAX_PAIRS = 1_000_000
# Fewer are parsed one after the other.
LEAST_LINES = 16
EXCERPT = 120
LARGEST_TIME = 2**62
TOLD_REJECTIONS = 10

# A comment; or measurement and tags up to the first space that no backslash stands before, where quotes mean nothing,
# and then fields, where a value that begins with a quote goes on to the next one, over line ends too. (The parser, like
# InfluxDB, takes a quote that should have been escaped for the end of one part of the text, and the next for a start.)
_TAGS = r"(?:[^\\ \n]++|\\++[ ]?)*+"
_QUOTED = r'(?:"(?:[^"\\]++|\\.)*+"(?:[^", \\\n]++|\\[^\n])*+)++'
_LINE = re.compile(
    rf'[ \t]*+(?:\#[^\n]*+|{_TAGS}(?:[^"\\\n=]++|={_QUOTED}|\\[^\n]|[^\n])*+)(?:\n|\Z)',
    re.DOTALL,
)
_BEFORE_FIELDS = re.compile(rf"[ \t]*+{_TAGS}")
_FIELD = re.compile(rf"(?:[^\\,= ]++|\\.)++=(?:{_QUOTED}|[^, ]++)", re.DOTALL)


class Point(msgspec.Struct, gc=False):
    """One line: readings of one time."""

    metrics: dict[str, float | int | bool | str]
    serial_number: str | None
    timestamp: int | None
    quality: None = None


class LineProtocol:
    accepts = None
    overwrites = True

    def __init__(self, precision: str = "", units: Mapping[str, tuple[int, int]] = V2_UNITS):
        self._units = units
        self._unit = units.get(precision or "ns")

    def decode(self, body: bytes, receipt: Receipt) -> list[Point | None]:
        """One entry a line, None where it has no point (a comment, a blank line): indexes count lines."""
        if self._unit is None:
            raise Malformed(f"precision is one of {', '.join(self._units)}.")
        if not body:
            return []
        text = _text(body)
        points: list[Point | None] = []
        for line in text.split("\n") if '"' not in text else _lines(text):
            try:
                parsed = parse_line(line)
                points.append(parsed and _point(line, parsed))
            except LineFormatError as error:
                if line.strip(" \t\r"):
                    raise _malformed(len(points) + 1, line, str(error)) from error
                points.append(None)
        return points

    def columns(self, body: bytes) -> MessageColumns | None:
        shape = like_lines.shape_of(body)
        if shape is None or shape.lines < LEAST_LINES or self._unit is None:
            return None
        like = like_lines.read(_text(body), shape)
        if like is None:
            return None
        ts = None if like.timestamps is None else self.all_micros(like.timestamps)
        if like.timestamps is not None and ts is None:
            return None
        return MessageColumns(like.serials, [like.names] * shape.lines, like.numbers, ts, quality=None)

    def micros(self, timestamp: int) -> int:
        multiplier, divisor = self._unit
        return timestamp * multiplier // divisor

    def all_micros(self, timestamps: list[int | None]) -> np.ndarray | None:
        multiplier, divisor = self._unit
        try:
            times = array_of(timestamps, np.int64)
        except struct.error:
            return None
        largest = LARGEST_TIME // multiplier
        return times * multiplier // divisor if ((times >= -largest) & (times <= largest)).all() else None

    def answer(self, receipt: Receipt) -> tuple[int, str, bytes]:
        if not receipt.rejected_count:
            return 204, "", b""
        status = 422 if receipt.stored else 400
        rejected = [_by_line(**rejection) for rejection in receipt.rejected]
        return status, *_failure(status, _told(receipt, rejected), rejected=rejected)

    def refuse(self, error: IngestError) -> tuple[str, bytes]:
        return _failure(error.status, error.detail, **error.members)


def _text(body: bytes) -> str:
    """The parser may crash the process on a text that is not UTF-8, so it never gets to see one."""
    if body.count(b"\n") > MAX_LINES or body.count(b"=") > MAX_PAIRS:
        raise TooLarge(f"The body has more than {MAX_LINES} lines or {MAX_PAIRS} values; send it in parts.")
    try:
        return body.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        line = body.split(b"\n", number)[number - 1]
        raise _malformed(number, line.decode(errors="replace"), "it is not UTF-8") from error


def _lines(text: str) -> list[str]:
    """Where texts are quoted, not each line end ends a line; empty ones keep the count."""
    lines = []
    for line in _LINE.findall(text)[:-1]:  # the last one is the nothing after the end
        line = line.removesuffix("\n")
        lines.append(line)
        lines += [""] * line.count("\n")
    return lines


def _point(line: str, parsed: dict) -> Point:
    tags, fields = parsed["tags"], parsed["fields"]
    if line.count("=") != len(tags) + len(fields):
        fields = _last_of_each(line)
    return Point(fields, tags.get("serial_number") or tags.get("sensor_id") or tags.get("device"), parsed["time"])


def _last_of_each(line: str) -> dict:
    """Of a field that is there twice the parser takes the first, InfluxDB the last: so it gets them in reverse."""
    fields = _FIELD.findall(line.removesuffix("\r"), _BEFORE_FIELDS.match(line).end())
    return parse_line("m " + ",".join(reversed(fields)))["fields"]


def _malformed(number: int, line: str, why: str) -> Malformed:
    excerpt = line if len(line) <= EXCERPT else line[:EXCERPT] + "…"
    return Malformed(f"Line {number} can't be parsed ({why.rstrip('.')}); nothing was written: {excerpt}")


def _by_line(index: int, **rejection) -> dict:
    return {"line": index + 1} | rejection


def _told(receipt: Receipt, rejected: list[dict]) -> str:
    rest = "the rest is stored" if receipt.stored else "nothing was written"
    told = [f"{receipt.rejected_count} of {receipt.rejected_count + receipt.stored} readings were rejected, {rest}."]
    for rejection in rejected[:TOLD_REJECTIONS]:
        metric = f", {rejection['metric']}" if rejection["metric"] is not None else ""
        told.append(f"Line {rejection['line']}{metric}: {rejection['code']}, {rejection['message']}")
    if receipt.rejected_count > TOLD_REJECTIONS:
        told.append("…")
    return " ".join(told)


def _failure(status: int, message: str, **more) -> tuple[str, bytes]:
    """Clients of InfluxDB 2 read `message`, those of InfluxDB 1 `error`."""
    body = {"code": CODES.get(status, "internal error"), "message": message, "error": message} | more
    return "application/json", msgspec.json.encode(body)
