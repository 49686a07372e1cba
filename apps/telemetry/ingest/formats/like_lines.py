"""Lines that are all built alike, as those of one source are, read as columns: a third of the time that parsing one
after the other takes.

    weather,serial_number=A t=20.5,rh=40 1795219200000000000
    weather,serial_number=B t=21.0,rh=38 1795219200000000000

come apart into ten columns at their separators, and only what stands in them has to be looked at. Anything that could
mean a separator that is none (quotes, backslashes), or nothing (comments), is left to the parser.
"""

import re
import struct
from dataclasses import dataclass

import msgspec
import numpy as np

from apps.telemetry.ingest.batch import array_of

_SEPARATORS = b",= \n"
_ALL_ELSE = bytes(set(range(256)) - set(_SEPARATORS))
# Tags, fields, and whether a time comes last.
_SHAPE = re.compile(rb"((?:,=)*) (=(?:,=)*)( ?)")
_FOR_THE_PARSER = ('"', "\\", "\r", "\t", "\0", "\n#")
_NOT_WHOLE = re.compile("[.eE]")
_DEVICE_TAGS = ("serial_number", "sensor_id", "device")
_floats = msgspec.json.Decoder(list[float]).decode
_integers = msgspec.json.Decoder(list[int]).decode


@dataclass(slots=True)
class Shape:
    """The separators of each line, of which there are so many."""

    tags: int
    fields: int
    has_time: bool
    lines: int

    @property
    def width(self) -> int:
        """How many parts a line has."""
        return 1 + 2 * self.tags + 2 * self.fields + self.has_time


@dataclass(slots=True)
class LikeLines:
    """`numbers` are those of one line after the other; `timestamps` None where the lines have none."""

    serials: list[str | None]
    names: tuple[str, ...]
    numbers: np.ndarray
    timestamps: list[int] | None


def shape_of(body: bytes) -> Shape | None:
    """None where lines differ."""
    separators = body.rstrip(b"\n").translate(None, _ALL_ELSE)
    first = separators.partition(b"\n")[0]
    lines = separators.count(b"\n") + 1
    found = _SHAPE.fullmatch(first)
    if found is None or (first + b"\n") * lines != separators + b"\n":
        return None
    return Shape(len(found[1]) // 2, (len(found[2]) + 1) // 2, bool(found[3]), lines)


def read(text: str, shape: Shape) -> LikeLines | None:
    """None where there is more to it than plain numbers. No line end may follow the last line."""
    if text.startswith("#") or any(mark in text for mark in _FOR_THE_PARSER):
        return None
    text = text.replace(",", "\n").replace("=", "\n").replace(" ", "\n")
    if "\n\n" in text or text[:1] == "\n" or text[-1:] == "\n":
        return None  # nothing stands before or after some separator
    parts, width = text.split("\n"), shape.width
    columns = [parts[place::width] for place in range(width)]
    fields_at = 1 + 2 * shape.tags
    times_at = fields_at + 2 * shape.fields
    tags = _heads(columns[1:fields_at:2])
    names = _heads(columns[fields_at:times_at:2])
    numbers = [_numbers(column) for column in columns[fields_at + 1 : times_at : 2]]
    timestamps = _integers_of(columns[times_at]) if shape.has_time else None
    if tags is None or names is None or any(column is None for column in numbers):
        return None
    if shape.has_time and timestamps is None:
        return None
    tag = next((tag for tag in _DEVICE_TAGS if tag in tags), None)
    serials = [None] * shape.lines if tag is None else columns[2 + 2 * tags.index(tag)]
    return LikeLines(serials, names, np.stack(numbers, axis=1).ravel(), timestamps)


def _heads(columns: list[list[str]]) -> tuple[str, ...] | None:
    """What each column has in every line. None if there it differs, or if two columns have the same."""
    heads = tuple(column[0] for column in columns)
    are_alike = all(column.count(column[0]) == len(column) for column in columns)
    return heads if are_alike and len(set(heads)) == len(heads) else None


def _numbers(texts: list[str]) -> np.ndarray | None:
    """The line protocol has all of JSON's numbers, and whole ones that end with an i."""
    try:
        if texts[0][-1] != "i":
            return array_of(_floats(f"[{','.join(texts)}]"), np.float64)
        whole = _integers_of([text.removesuffix("i") for text in texts])
        return whole and array_of(whole, np.int64).astype(np.float64)
    except (msgspec.DecodeError, struct.error):
        return None


def _integers_of(texts: list[str]) -> list[int] | None:
    joined = ",".join(texts)
    try:
        return None if _NOT_WHOLE.search(joined) else _integers(f"[{joined}]")
    except msgspec.DecodeError:
        return None
