"""Buckets without readings: left out, empty, as the one before, or on the line between their neighbours."""

from enum import StrEnum
from itertools import pairwise


class Fill(StrEnum):
    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"


def filled(rows: dict[int, list], moments: list[float], fill: Fill, *, width: int) -> dict[int, list]:
    """`rows` are `width` values by the bucket's index, `moments` when buckets begin. Nothing is made up before the
    first reading, and on a line nothing after the last; what is no number lies on no line.
    """
    whole = {index: rows.get(index, [None] * width) for index in range(len(moments))}
    for column in range(width):
        if fill is Fill.PREVIOUS:
            _carry(whole, column)
        elif fill is Fill.LINEAR:
            _interpolate(whole, column, moments)
    return whole


def _carry(rows: dict[int, list], column: int) -> None:
    last = None
    for index, row in rows.items():
        if row[column] is None:
            rows[index] = [*row[:column], last, *row[column + 1 :]]
        else:
            last = row[column]


def _interpolate(rows: dict[int, list], column: int, moments: list[float]) -> None:
    known = [index for index, row in rows.items() if type(row[column]) in (int, float)]
    for left, right in pairwise(known):
        begin, end = rows[left][column], rows[right][column]
        slope = (end - begin) / (moments[right] - moments[left])
        for index in range(left + 1, right):
            row = rows[index]
            rows[index] = [*row[:column], begin + slope * (moments[index] - moments[left]), *row[column + 1 :]]
