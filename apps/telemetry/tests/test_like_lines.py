"""Lines that are read as columns must come out as the parser has them, and what it refuses must be left to it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.telemetry.ingest.formats import like_lines
from apps.telemetry.ingest.formats.line_protocol import LineProtocol
from apps.telemetry.ingest.receipt import Receipt

usual = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(repr),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-(2**63), 2**63 - 1).map("{}i".format),
)
odd = st.one_of(
    st.text("0123456789.-+eEiu", max_size=5),
    st.sampled_from(
        ["t", "F", "true", '"text"', "nan", "inf", "1_0", "[1]", "1]", "null", "9223372036854775808i", "2u"]
    ),
)
keys = st.sampled_from(["serial_number", "sensor_id", "device", "host", "é", "#", "a b", "_"])
texts = st.text("ab1.-_é#/\\\t", min_size=1, max_size=4)
times = st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.text("0123456789.-+e", max_size=4))


@st.composite
def bodies(draw) -> bytes:
    """Some lines of one shape; now and then one of the parts, or a letter anywhere, is not as it should be."""
    tags, fields = draw(st.lists(keys, max_size=2)), draw(st.lists(keys, min_size=1, max_size=3))
    values = draw(st.sampled_from([usual, usual, usual, st.one_of(usual, odd)]))
    names = draw(st.sampled_from([st.text("ab1.-_é", min_size=1, max_size=4), texts]))
    has_time = draw(st.booleans())
    lines = []
    for _ in range(draw(st.integers(1, 4))):
        line = ",".join([draw(names), *(f"{tag}={draw(names)}" for tag in tags)])
        line += " " + ",".join(f"{field}={draw(values)}" for field in fields)
        lines.append(f"{line} {draw(times)}" if has_time else line)
    body = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from([",", "=", " ", "\n", '"', "\\", "#", "\r", "\0"])) + body[at:]
    return body.encode()


def by_columns(body: bytes) -> list[tuple] | None:
    shape = like_lines.shape_of(body)
    like = shape and like_lines.read(body.decode().rstrip("\n"), shape)
    if not like or (like.timestamps and LineProtocol().all_micros(like.timestamps) is None):
        return None
    rows = like.numbers.reshape(-1, len(like.names)).tolist()
    timestamps = like.timestamps or [None] * len(rows)
    return [
        (serial, dict(zip(like.names, row, strict=True)), at)
        for serial, row, at in zip(like.serials, rows, timestamps, strict=True)
    ]


def one_by_one(body: bytes) -> list[tuple]:
    points = LineProtocol().decode(body, Receipt())
    return [
        (point.serial_number, {name: float(value) for name, value in point.metrics.items()}, point.timestamp)
        for point in points
    ]


@given(body=bodies())
@example(body=b"m,device=A f=1 5\n#,device=B f=2 6")
@example(body=b"m f=1\nm f=2\n\n")
@example(body=b"m f=1\nm")
@example(body=b"m f=1 -9223372036854775808")
@example(body=b"m,device=A f=1,f=2 5")
def test_what_is_read_as_columns_is_what_the_parser_reads(body):
    columns = by_columns(body)

    assert columns is None or columns == one_by_one(body)


@pytest.mark.parametrize(
    "line",
    [
        "m,serial_number=SN-1 temperature=20.5,pressure=-1e3 1795219200000000000",
        "m,host=a,device=SN-1 rpm=1480i,load=0 1795219200",
        "a.b-c temperature=20.5",
    ],
)
def test_usual_lines_are_read_as_columns(line):
    """Else the test above would test nothing."""
    body = "\n".join([line] * 3).encode()

    assert by_columns(body) == one_by_one(body)


@pytest.mark.parametrize(
    "body",
    [
        b"m f=1 5\nm f=2",
        b"m f=1 5\nm,a=b f=2 6",
        b"m f=1\nm g=2",
        b"m f=1\n\nm f=2",
        b'm f="1"\nm f="2"',
        b"m f=1i\nm f=t",
        b"# a=b c=d 1\n# a=b c=d 1",
        b"m\\ f=1 5\nm\\ f=1 5",
    ],
)
def test_others_are_left_to_the_parser(body):
    assert by_columns(body) is None
