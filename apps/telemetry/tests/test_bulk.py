"""Large requests are taken column by column; what comes out must not differ from taking them message by message."""

from datetime import UTC, datetime, timedelta
from math import inf
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.telemetry.ingest import bulk
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.catalog import Catalog, DeviceEntry, Series
from apps.telemetry.ingest.credentials import Credential
from apps.telemetry.ingest.formats.json_messages import EPOCH, JsonMessages
from apps.telemetry.ingest.formats.like_texts import micros_of_like_texts
from apps.telemetry.ingest.formats.line_protocol import LineProtocol
from apps.telemetry.ingest.presence import Presence
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.ingest.resolve import Resolver

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW_MICROS = int(NOW.timestamp()) * 1_000_000
OWNER, OTHER = 1, 2


def device(number: int, *, owner=OWNER, is_active=True) -> DeviceEntry:
    series = {
        "plain": Series(10 * number, "numeric", -inf, inf, is_watched=False, shard=3),
        "bounded": Series(10 * number + 1, "numeric", 0.0, 100.0, is_watched=True, shard=3),
        "open": Series(10 * number + 2, "boolean", -inf, inf, is_watched=True, shard=3),
    }
    return DeviceEntry(UUID(int=number), f"SN-{number}", owner, is_active, Presence(UUID(int=number)), series)


def new_catalog() -> Catalog:
    catalog = Catalog()
    known = [device(1), device(2), device(3, is_active=False), device(4, owner=OTHER)]
    catalog._keep({entry.serial_number: entry for entry in known})
    return catalog


@pytest.fixture(autouse=True)
def no_new_metrics(settings):
    settings.TELEMETRY = settings.TELEMETRY | {"AUTO_REGISTER": False}


def resolver(catalog: Catalog, owner: int = OWNER) -> Resolver:
    earliest = NOW_MICROS - 365 * 86_400_000_000
    return Resolver(catalog, Credential(owner_id=owner), now=NOW_MICROS, earliest=earliest, may_block=False)


def outcome(batch: Batch) -> dict:
    return {
        "rows": [(*row[:3], np.float32(row[3])) for row in batch.rows],
        "types": [type(value) for value in batch.rows and list(zip(*batch.rows, strict=True))[2]],
        "watched": batch.watched,
        "heard": {(presence.device_id, presence.least_lag) for presence in batch.heard},
        "rejected": batch.receipt.rejected,
    }


def both_ways(form, body: bytes) -> tuple[dict, dict]:
    catalog, found = new_catalog(), []
    # In this order: it is by the slow way that the tables come to know a device.
    for take in ("_take_one_by_one", "resolve"):
        batch = Batch(received_at=NOW_MICROS)
        messages = form.decode(body, batch.receipt)
        columns = form.columns(body)
        one = resolver(catalog)
        for entry in catalog.find(["SN-1", "SN-2", "SN-3", "SN-4"]).values():
            entry.presence.least_lag = inf
        if take == "_take_one_by_one":
            one._take_one_by_one(messages, form.micros, batch)
        elif columns is None or not one.resolve_columns(columns, batch):
            one.resolve(messages, form, batch)
        found.append(outcome(batch))
    return found[1], found[0]


usual = st.one_of(st.floats(-200, 200).map(lambda value: round(value, 3)), st.integers(-200, 200))
values = st.one_of(usual, usual, usual, st.sampled_from([True, "text", None, 1e200, 10**200, 10**400]))
times = st.one_of(
    st.integers(-(10**9), 10**9).map(lambda micros: (NOW - timedelta(microseconds=micros)).isoformat()),
    st.sampled_from([None, "2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00", "2020-01-01T00:00:00Z", 1763640000000]),
)
epoch_ms = st.one_of(
    st.integers(0, 10**6).map(lambda ms: NOW_MICROS // 1000 - ms),
    st.sampled_from([0, -(10**15), 2**53, 10**30, 10**308]),
)


def message_of(serials, names, times, values, quality):
    return st.fixed_dictionaries(
        {"serial_number": serials, "metrics": st.dictionaries(names, values, max_size=3)},
        optional={"timestamp": times, "quality": quality},
    )


regular = message_of(
    st.sampled_from(["SN-1", "SN-2"]),
    st.sampled_from(["plain", "bounded", "BOUNDED"]),
    st.integers(0, 10**9).map(lambda micros: (NOW - timedelta(microseconds=micros)).isoformat()),
    usual,
    st.sampled_from([0.25, 0.75, 1, None]),
)
anything = message_of(
    st.sampled_from(["SN-1", "SN-2", "SN-3", "SN-4"]),
    st.sampled_from(["plain", "bounded", "open", "unknown"]),
    times,
    values,
    st.sampled_from([0.25, 1, None, 1.5]),
)


@given(messages=st.lists(regular, min_size=bulk.LEAST_MESSAGES, max_size=40))
def test_regular_messages_come_out_the_same(messages):
    at_once, one_by_one = both_ways(JsonMessages(), msgspec.json.encode(messages))

    assert at_once == one_by_one


@given(
    messages=st.lists(regular, min_size=bulk.LEAST_MESSAGES, max_size=40),
    times=st.lists(st.one_of(epoch_ms, epoch_ms.map(float), epoch_ms.map(lambda at: at + 0.4)), min_size=40),
)
def test_times_in_milliseconds_come_out_the_same(messages, times):
    timed = [message | {"timestamp": at} for message, at in zip(messages, times, strict=False)]

    at_once, one_by_one = both_ways(JsonMessages(), msgspec.json.encode(timed))

    assert at_once == one_by_one


@given(messages=st.lists(st.one_of(regular, anything), min_size=bulk.LEAST_MESSAGES, max_size=40))
def test_messages_of_any_kind_come_out_the_same(messages):
    at_once, one_by_one = both_ways(JsonMessages(), msgspec.json.encode(messages))

    assert at_once == one_by_one


@given(
    precision=st.sampled_from(["ns", "us", "ms", "s"]),
    times=st.lists(st.one_of(st.integers(0, 2**62), st.integers(0, 600)), min_size=20, max_size=20),
    comments=st.booleans(),
)
def test_lines_come_out_the_same(precision, times, comments):
    now = NOW_MICROS * 1000 // {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}[precision]
    lines = [
        f"m,serial_number=SN-1 plain={place}{'i' * (place % 2)} {now - at if at <= 600 else at}"
        for place, at in enumerate(times)
    ]
    body = "\n".join(["# a comment", *lines] if comments else lines).encode()

    at_once, one_by_one = both_ways(LineProtocol(precision), body)

    assert at_once == one_by_one


@pytest.mark.parametrize("timestamp", [NOW.isoformat(), NOW_MICROS // 1000, NOW_MICROS / 1000, None])
@pytest.mark.parametrize("value", [1.0, 1])
def test_regular_messages_are_taken_at_once(timestamp, value):
    """Else the tests above would compare the slow way with itself."""
    messages = [{"serial_number": "SN-1", "timestamp": timestamp, "metrics": {"plain": value}}] * 20
    catalog, form, batches = new_catalog(), JsonMessages(), []

    for _ in range(2):
        batches.append(Batch(received_at=NOW_MICROS))
        resolver(catalog).resolve(form.decode(msgspec.json.encode(messages), Receipt()), form, batches[-1])

    assert isinstance(batches[0].values, list)
    assert isinstance(batches[1].values, np.ndarray)
    assert batches[0].rows == batches[1].rows


class TestTables:
    @pytest.fixture
    def fleet(self) -> Catalog:
        catalog = Catalog()
        catalog._keep({entry.serial_number: entry for entry in map(device, range(1, 41))})
        return catalog

    @staticmethod
    def take(catalog: Catalog, serial_numbers, owner=OWNER) -> Batch:
        batch = Batch(received_at=NOW_MICROS)
        metrics = {"plain": 1.0, "bounded": 200.0}
        messages = [{"serial_number": serial, "metrics": metrics} for serial in serial_numbers]
        form = JsonMessages()
        one = resolver(catalog, owner)
        one.resolve(form.decode(msgspec.json.encode(messages), batch.receipt), form, batch)
        return batch

    def test_rows_of_many_devices_are_those_of_each(self, fleet):
        serial_numbers = [f"SN-{number}" for number in (*range(1, 41), *range(40, 0, -1))]

        first, second = (self.take(fleet, serial_numbers) for _ in range(2))

        assert isinstance(second.values, np.ndarray)
        assert second.rows == first.rows
        assert second.watched == first.watched

    def test_device_that_was_dropped_is_not_found_any_more(self, fleet):
        self.take(fleet, ["SN-1", "SN-2"] * 10)
        fleet.drop(UUID(int=1))

        table = fleet.tables.get(("plain", "bounded"))
        assert set(table.places) == {"SN-2"}

    def test_what_was_read_before_a_device_was_dropped_is_not_kept(self, fleet):
        entry = fleet.find(["SN-1"])["SN-1"]
        fleet.drop(UUID(int=1))

        assert fleet.layout(entry, ("plain",)) is not None
        assert fleet.tables.get(("plain",)) is None

    def test_device_of_another_owner_is_rejected_by_large_requests_too(self, fleet):
        self.take(fleet, ["SN-1"] * 20)

        batch = self.take(fleet, ["SN-1"] * 20, owner=OTHER)

        assert batch.receipt.rejected_count == 40
        assert not len(batch)


@given(
    times=st.lists(st.integers(-(62 * 10**15), 253 * 10**15), min_size=1, max_size=20),  # the years 5 to 9987
    digits=st.integers(0, 6),
    offset=st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-11:45", "+23:59"]),
)
def test_times_that_are_written_alike_are_read_as_one_by_one(times, digits, offset):
    written = [(EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds") for at in times]
    texts = [text[: 20 + digits if digits else 19] + offset for text in written]

    assert micros_of_like_texts(texts).tolist() == [JsonMessages().micros(text) for text in texts]


@pytest.mark.parametrize(
    "texts",
    [
        ["2026-11-20T10:00:00Z", "2026-02-30T10:00:00Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20T24:00:00Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20T10:00:60Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20 10:00:00Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20T10:00:0٣Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00.5Z"],
        ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z2026-11-20T10:00:00Z", ""],
        ["2026-11-20T10:00:00+01:00", "2026-11-20T10:00:00+02:00"],
        ["2026-11-20T10:00:00+24:00", "2026-11-20T10:00:00+24:00"],
        ["2026-11-20T10:00:00", "2026-11-20T10:00:00"],
        ["2026-11-20T10:00:00.1234567Z", "2026-11-20T10:00:00.1234567Z"],
        ["today", "today"],
        ["", ""],
    ],
)
def test_times_that_are_not_all_alike_are_left_to_others(texts):
    assert micros_of_like_texts(texts) is None
