"""What LineProtocol makes of a body, down to the last escape; no database needed."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.telemetry.ingest.errors import IngestError, Malformed, TooLarge
from apps.telemetry.ingest.formats.line_protocol import V1_UNITS, LineProtocol, Point
from apps.telemetry.ingest.receipt import Receipt


def decode(body: str | bytes, form: LineProtocol | None = None) -> list[Point | None]:
    return (form or LineProtocol()).decode(body.encode() if isinstance(body, str) else body, Receipt())


def metrics_of(line: str) -> dict:
    point, *_ = decode(line)
    return point.metrics


class TestLines:
    def test_line_has_device_metrics_and_time(self):
        (point,) = decode('vibration,serial_number=A-1,site=x speed=5.2,open=f,state="ok" 1795219200000000000')

        assert point.serial_number == "A-1"
        assert point.metrics == {"speed": 5.2, "open": False, "state": "ok"}
        assert point.timestamp == 1795219200000000000
        assert point.quality is None

    def test_time_may_be_left_out(self):
        assert decode("m f=1")[0].timestamp is None

    def test_places_are_line_numbers_whatever_the_lines_are(self):
        points = decode('# a "comment"\n\n  \nm f=1\r\nm s="two\n\nlines" 5\r\nm f=2\n')

        assert [point and point.metrics for point in points] == [
            *[None, None, None, {"f": 1.0}],
            *[{"s": "two\n\nlines"}, None, None],
            {"f": 2.0},
        ]

    def test_quotes_mean_nothing_before_the_fields_and_in_comments(self):
        points = decode('m,t=5" f=1\n# m f="\nm,u="x f="a"\n"m" "f"=2')

        assert [point and point.metrics for point in points] == [{"f": 1.0}, None, {"f": "a"}, {'"f"': 2.0}]

    @pytest.mark.parametrize(
        ("tags", "serial_number"),
        [
            ("serial_number=A,sensor_id=B,device=C", "A"),
            ("device=C,sensor_id=B", "B"),
            ("device=C,host=D", "C"),
            ("host=D", None),
            (r"serial_number=Line\ 1\,\ press\=2", "Line 1, press=2"),
            ("serial_number=Süd-日本", "Süd-日本"),
            (r"serial_number=C:\press", r"C:\press"),
        ],
    )
    def test_device_is_a_tag(self, tags, serial_number):
        assert decode(f"m,{tags} f=1")[0].serial_number == serial_number

    def test_large_bodies_are_read(self):
        assert len(decode("m f=1\n" * 100_000)) == 100_000
        assert len(metrics_of('m f="' + "x" * 1_000_000 + '"')["f"]) == 1_000_000

    def test_body_that_would_fill_the_memory_is_too_large(self):
        for body in (b"\n" * 600_000, b"m " + b"f=1," * 1_200_000):
            with pytest.raises(TooLarge):
                decode(body)

    def test_empty_body_has_no_points(self):
        assert decode(b"") == []


class TestFields:
    @pytest.mark.parametrize("sent", ["1", "1.0", "1e0", "1i", "1u", "10e-1", "01", "1."])
    def test_numbers_of_all_kinds_are_numbers(self, sent):
        value = metrics_of(f"m f={sent}")["f"]
        assert type(value) in {float, int}
        assert value == 1

    @pytest.mark.parametrize("sent", ["-9223372036854775808i", "18446744073709551615u", "-1.5E+3", ".5"])
    def test_numbers_keep_their_value(self, sent):
        assert float(metrics_of(f"m f={sent}")["f"]) == float(sent.rstrip("iu"))

    @pytest.mark.parametrize("sent", ["t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"])
    def test_booleans_of_all_spellings(self, sent):
        assert metrics_of(f"m f={sent}")["f"] is (sent[0] in "tT")

    @pytest.mark.parametrize(
        ("sent", "text"),
        [
            ('""', ""),
            (r'"a \"b\" \\ c"', r'a "b" \ c'),
            (r'"C:\new\\"', r"C:\new" + "\\"),
            ('"a,b c=d"', "a,b c=d"),
            ('"x=\\"y\\""', 'x="y"'),
            ('"it\'s # no comment"', "it's # no comment"),
            ('"\t日本 é"', "\t日本 é"),
            ('"one\r\ntwo"', "one\r\ntwo"),
        ],
    )
    def test_texts_are_unescaped(self, sent, text):
        assert metrics_of(f"m f={sent},g=1 5") == {"f": text, "g": 1.0}

    def test_names_are_unescaped(self):
        assert metrics_of(r"my\ m\,x,a\ b=c\,d first\ one=1,b\,c=2,d\=e=3,\"q\"=4") == {
            "first one": 1,
            "b,c": 2,
            "d=e": 3,
            r"\"q\"": 4,
        }

    def test_of_a_field_given_twice_the_last_one_counts(self):
        assert metrics_of('m,t=a\\=b f=1i,g="f=7,",f=2i\r') == {"f": 2.0, "g": "f=7,"}


class TestMalformed:
    @pytest.mark.parametrize(
        "line",
        [
            *["m", "m ", "m f", "m f=", "m =1", "m f=1,", "m f=1,,g=2", ",t=1 f=1", "m,t f=1", "m,t= f=1", "m,=v f=1"],
            *["m f=abc", "m f=1x", "m f=1.5i", "m f=-1u", "m f=tRUE", "m f=nan", "m f=inf", "m f=1e400", "m f=0x1"],
            *["m f=1 5 6", "m f=1 x", "m f=1 1.5", "m f=1 99999999999999999999", "m f=9223372036854775808i"],
            *['m f="abc', 'm f="abc\\"', 'm f="a"b', "m f=1\x00", "m f='a'", "m,a=1,a=2 f=1", "{}", "<xml/>"],
        ],
    )
    def test_bad_line_is_named_by_number_and_content(self, line):
        with pytest.raises(Malformed) as error:
            decode(f'm f="1\n2" 5\n# comment\n{line}\nm f=1')

        assert "Line 4 " in error.value.detail
        assert line in error.value.detail

    @pytest.mark.parametrize("body", [b'm f="\xff"', b"m,t=\xff f=1", b"\xff f=1", b'm f="\xed\xa0\x80"', b"\xff\xfe"])
    def test_body_that_is_no_utf8_is_refused_by_line(self, body):
        with pytest.raises(Malformed, match="Line 2 can't be parsed"):
            decode(b"m f=1\n" + body + b"\nm f=2")

    def test_long_line_is_cut_in_the_message(self):
        with pytest.raises(Malformed) as error:
            decode("m " + "f=1," * 10_000)

        assert len(error.value.detail) < 250

    @pytest.mark.parametrize("precision", ["m", "µs", "NS", "1", "ns,us"])
    def test_unknown_precision_is_refused(self, precision):
        with pytest.raises(Malformed, match="ns, us, ms, s"):
            decode("m f=1", LineProtocol(precision))


@pytest.mark.parametrize(
    ("precision", "timestamp", "micros"),
    [
        ("", 1_999, 1),
        ("ns", -1_000, -1),
        ("n", 1_000, 1),
        ("us", 7, 7),
        ("u", 7, 7),
        ("µ", 7, 7),
        ("ms", 7, 7_000),
        ("s", 7, 7_000_000),
        ("m", 7, 420_000_000),
        ("h", 7, 25_200_000_000),
    ],
)
def test_precision_says_what_timestamps_count(precision, timestamp, micros):
    assert LineProtocol(precision, V1_UNITS).micros(timestamp) == micros


# What line protocol can express: no line ends in names, no backslash where it might escape what follows.
_names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\\#"), min_size=1
)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_fields = st.dictionaries(
    _names, st.booleans() | _texts | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1
)
_points = st.tuples(_names, st.dictionaries(_names, _names), _fields, st.none() | st.integers(-(2**63) + 2, 2**63 - 2))


def _escaped(name: str, characters: str) -> str:
    return "".join(f"\\{one}" if one in characters else one for one in name)


def _value(value) -> str:
    if isinstance(value, str):
        return '"' + _escaped(value, '"\\') + '"'
    return str(value)


def _line(measurement, tags, fields, timestamp) -> str:
    head = "".join(f",{_escaped(name, ',= ')}={_escaped(value, ',= ')}" for name, value in tags.items())
    body = ",".join(f"{_escaped(name, ',= ')}={_value(value)}" for name, value in fields.items())
    return f"{_escaped(measurement, ', ')}{head} {body}" + ("" if timestamp is None else f" {timestamp}")


@settings(deadline=None, database=None, max_examples=200)
@given(st.lists(_points, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\n\n", '\n# m f="\n']))
def test_whatever_can_be_written_is_read_as_it_was(points, line_end):
    read = [point for point in decode(line_end.join(_line(*point) for point in points)) if point is not None]

    assert [(point.metrics, point.timestamp) for point in read] == [(fields, at) for _, _, fields, at in points]
    assert [point.serial_number for point in read] == [
        tags.get("serial_number") or tags.get("sensor_id") or tags.get("device") for _, tags, _, _ in points
    ]


_scraps = st.sampled_from(
    ["m", "f=1", ",t=v", " ", '"', "\\", "\n", "=", ",", '="', "#", " 5", "\r", "\0", "é", "m f="]
)


@settings(deadline=None, database=None, max_examples=500)
@given(st.binary() | st.lists(_scraps, max_size=30).map(lambda scraps: "".join(scraps).encode()))
def test_any_body_is_read_or_refused(body):
    try:
        points = decode(body)
    except IngestError:
        return
    for point in points:
        assert point is None or all(type(value) in (float, bool, str) for value in point.metrics.values())
        assert point is None or not any(map(math.isnan, (v for v in point.metrics.values() if type(v) is float)))
