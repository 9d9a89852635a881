"""The layout of the online store, byte by byte, and what of it can be said without Redis."""

from __future__ import annotations

import ssl
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from schemas.errors import FeatureError, SettingsError, StoreError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW, TIMESTAMP, FeatureBatch
from schemas.online_pb2 import Float64List, Int64List, TextList, Value
from udfs.stores.online.base import RedisOptions, StoredView
from udfs.stores.online.layout import KeyLayout, field, fields, time_field
from udfs.stores.online.redis_connection import is_away, pool
from udfs.stores.online.redis_writer import RedisWriter
from udfs.stores.online.small_batch import SMALL, encode_small, encode_small_times, small_records
from udfs.stores.online.values import decode, encode, encode_times, to_list

VIEW = StoredView("v_v1", (("account", FeatureType.INT64),), (("n", FeatureType.INT64),), 1000)


def one(value: Any, kind: FeatureType) -> bytes:
    return to_list(encode(pa.array([value], ARROW[kind]), kind))[0]


def test_keys_are_feast_s_entity_keys_and_the_project() -> None:
    assert KeyLayout(VIEW, "shop").keys_of([(258,), (-1,)], ["account"]) == [
        # names: one, of type string, 7 bytes; the value: of type int64, 8 bytes
        bytes.fromhex("01000000 02000000 07000000") + b"account"
        + bytes.fromhex("04000000 08000000 0201000000000000") + b"shop",
        bytes.fromhex("01000000 02000000 07000000") + b"account"
        + bytes.fromhex("04000000 08000000 ffffffffffffffff") + b"shop",
    ]  # fmt: skip


def test_entity_columns_are_sorted_by_name() -> None:
    view = replace(VIEW, entity=(("zip", FeatureType.STRING), ("at", FeatureType.TIMESTAMP)))
    key = (
        bytes.fromhex("02000000 02000000 02000000") + b"at" + bytes.fromhex("02000000 03000000") + b"zip"
        + bytes.fromhex("04000000 08000000 0500000000000000")
        + bytes.fromhex("02000000 03000000") + "ü1".encode() + b"p"
    )  # fmt: skip
    assert KeyLayout(view, "p").keys_of([("ü1", 5)], ["zip", "at"]) == [key]
    columns = {"zip": pa.array(["x", "ü1"])[1:], "at": pa.array([9, 5])[1:]}
    assert KeyLayout(view, "p").keys(columns) == [key]


def test_fields_are_hashes_of_view_and_feature() -> None:
    # murmur3_32 of "driver_v1:trips" with seed 0, little-endian, by the reference in Python below
    assert field("driver_v1", "trips") == murmur3(b"driver_v1:trips").to_bytes(4, "little")
    assert murmur3(b"hello") == 0x248BFA47  # a published test vector
    assert time_field("driver_v1") == b"_ts:driver_v1"
    assert fields(VIEW, ["n"]) == [b"_ts:v_v1", field("v_v1", "n")]


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0, after Appleby's description."""
    mask, h = 0xFFFFFFFF, 0

    def rotated(x: int, r: int) -> int:
        return ((x << r) | (x >> (32 - r))) & mask

    def mixed(k: int) -> int:
        return rotated(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask

    whole = len(data) & ~3
    for i in range(0, whole, 4):
        h = (rotated(h ^ mixed(int.from_bytes(data[i : i + 4], "little")), 13) * 5 + 0xE6546B64) & mask
    h ^= mixed(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & mask
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
    return h ^ (h >> 16)


@pytest.mark.parametrize(
    ("value", "kind", "wire"),
    [
        (1, FeatureType.INT64, "20 01"),
        (0, FeatureType.INT64, "20 00"),
        (300, FeatureType.INT64, "20 ac02"),
        (-1, FeatureType.INT64, "20 ffffffffffffffffff01"),
        (1_760_000_000_123, FeatureType.TIMESTAMP, "20 fb80b3c19c33"),
        (1.5, FeatureType.FLOAT64, "29 000000000000f83f"),
        (True, FeatureType.BOOL, "38 01"),
        (False, FeatureType.BOOL, "38 00"),
        ("ü", FeatureType.STRING, "12 02 c3bc"),
        ("", FeatureType.STRING, "12 00"),
        ([1, 300], FeatureType.INT64_LIST, "72 05 0a 03 01 ac02"),
        ([], FeatureType.INT64_LIST, "72 00"),
        ([1.5], FeatureType.FLOAT64_LIST, "7a 0a 0a 08 000000000000f83f"),
        (["a", ""], FeatureType.STRING_LIST, "62 05 0a 01 61 0a 00"),
        *((None, kind, "") for kind in FeatureType),
    ],
)
def test_values_are_feast_s_messages(value: Any, kind: FeatureType, wire: str) -> None:
    assert one(value, kind) == bytes.fromhex(wire)
    assert decode(bytes.fromhex(wire), kind) == value


INT64 = st.integers(-(2**63), 2**63 - 1)
STRATEGIES: dict[FeatureType, st.SearchStrategy[Any]] = {
    FeatureType.INT64: INT64,
    FeatureType.TIMESTAMP: INT64,
    FeatureType.FLOAT64: st.floats(allow_nan=False),
    FeatureType.BOOL: st.booleans(),
    FeatureType.STRING: st.text(max_size=300),
    FeatureType.INT64_LIST: st.lists(INT64),
    FeatureType.FLOAT64_LIST: st.lists(st.floats(allow_nan=False)),
    FeatureType.STRING_LIST: st.lists(st.text()),
}


def message(value: Any, kind: FeatureType) -> Value:
    """The same by the generated code."""
    if value is None:
        return Value()
    match kind:
        case FeatureType.INT64_LIST:
            return Value(int64_list=Int64List(items=value))
        case FeatureType.FLOAT64_LIST:
            return Value(float64_list=Float64List(items=value))
        case FeatureType.STRING_LIST:
            return Value(text_list=TextList(items=value))
    names = {FeatureType.STRING: "text", FeatureType.FLOAT64: "float64", FeatureType.BOOL: "boolean"}
    return Value(**{names.get(kind, "int64"): value})


@given(data=st.data(), kind=st.sampled_from(list(FeatureType)))
def test_columns_are_encoded_as_protobuf_does(data: st.DataObject, kind: FeatureType) -> None:
    values = data.draw(st.lists(st.none() | STRATEGIES[kind], max_size=20))
    start = data.draw(st.integers(0, len(values)))
    encoded = to_list(encode(pa.array(values, ARROW[kind])[start:], kind))
    assert encoded == [message(v, kind).SerializeToString() for v in values[start:]]
    assert [decode(e, kind) for e in encoded] == values[start:]


@given(data=st.data(), kind=st.sampled_from(list(FeatureType)))
def test_a_few_values_are_encoded_as_columns_are(data: st.DataObject, kind: FeatureType) -> None:
    column = pa.array(data.draw(st.lists(st.none() | STRATEGIES[kind], max_size=20)), ARROW[kind])
    assert encode_small(column, kind) == to_list(encode(column, kind))


@pytest.mark.parametrize("kind", [FeatureType.INT64_LIST, FeatureType.FLOAT64_LIST, FeatureType.STRING_LIST])
def test_a_null_in_one_of_a_few_lists_is_refused(kind: FeatureType) -> None:
    with pytest.raises(StoreError, match="a list with a null in it"):
        encode_small(pa.array([[None]], ARROW[kind]), kind)


def test_a_few_records_unpack_as_their_layout_says() -> None:
    layout, data = small_records([5, -1], [[b"ab", b""], [b"", b"xyz"]])
    assert layout == "<dI4c0I4c0"  # Lua's: a double, then twice a length and as many bytes
    five, minus_one = struct.pack("<d", 5), struct.pack("<d", -1)
    lengths = [struct.pack("<I", n) for n in range(4)]
    assert data == (
        five + lengths[2] + b"ab" + lengths[0] + minus_one + lengths[0] + lengths[3] + b"xyz"
    )  # fmt: skip


@pytest.mark.parametrize("kind", [FeatureType.STRING, FeatureType.INT64])
def test_keys_are_the_same_however_many_there_are(kind: FeatureType) -> None:
    view = replace(VIEW, entity=(("z", FeatureType.STRING), ("a", kind)))
    values = [f"ü{i}" for i in range(3 * SMALL)]
    entities = list(
        zip(values, values if kind is FeatureType.STRING else range(-SMALL, 2 * SMALL), strict=True)
    )
    layout = KeyLayout(view, "p")
    one_by_one = [layout.keys_of([entity], ["z", "a"])[0] for entity in entities]
    assert layout.keys_of(entities, ["z", "a"]) == one_by_one
    assert len(set(one_by_one)) == len(entities)


@given(st.lists(st.integers(-62_135_596_800_000, 253_402_300_799_999), min_size=1))
def test_event_times_are_protobuf_timestamps(milliseconds: list[int]) -> None:
    expected = []
    for each in milliseconds:
        stamp = Timestamp()
        stamp.FromMilliseconds(each)
        expected.append(stamp.SerializeToString())
    assert to_list(encode_times(np.array(milliseconds, np.int64))) == expected
    assert encode_small_times(milliseconds) == expected


def test_numbers_of_other_widths_and_feast_s_timestamps_are_read() -> None:
    assert decode(Value(int32=-5).SerializeToString(), FeatureType.INT64) == -5
    assert decode(Value(float32=1.5).SerializeToString(), FeatureType.FLOAT64) == 1.5
    assert decode(Value(timestamp=7).SerializeToString(), FeatureType.TIMESTAMP) == 7000
    assert decode(Value(null=0).SerializeToString(), FeatureType.TIMESTAMP) is None


@pytest.mark.parametrize("held", [b"\x12\x01a", b"\x8a\x01\x00", b"\xff"])
def test_what_is_no_such_value_is_an_error(held: bytes) -> None:
    with pytest.raises(StoreError):
        decode(held, FeatureType.INT64)


def test_what_the_layout_cannot_say_is_refused() -> None:
    with pytest.raises(StoreError, match="null in it"):
        one([1, None], FeatureType.INT64_LIST)
    with pytest.raises(FeatureError, match="part of a key"):
        KeyLayout(replace(VIEW, entity=(("account", FeatureType.FLOAT64),)), "p")
    with pytest.raises(FeatureError, match="same field"):
        fields(VIEW, ["n54566", "n113690"])  # found by trying
    layout = KeyLayout(VIEW, "p")
    with pytest.raises(StoreError, match="is null"):
        layout.keys_of([(None,)], ["account"])
    for wrong in [("x",)], [(1, 2)], [(2**63,)], [(1,), ()]:
        with pytest.raises(StoreError, match="no tuples"):
            layout.keys_of(wrong, ["account"])
    assert layout.keys_of([], ["account"]) == []


def test_batches_of_another_shape_are_refused() -> None:
    writer = RedisWriter(VIEW, RedisOptions())  # it does not connect before it has rows

    def write(view: str = VIEW.id, **columns: pa.Array) -> Any:
        good = {name: pa.array([], pa.int64()) for name in ("account", "n", TIMESTAMP)}
        return writer.write(FeatureBatch(view, True, pa.RecordBatch.from_pydict(good | columns)))

    assert write().written == 0
    with pytest.raises(StoreError, match="other_v1"):
        write("other_v1")
    with pytest.raises(StoreError, match="column n is double, but int64"):
        write(n=pa.array([], pa.float64()))
    without = pa.RecordBatch.from_pydict({"account": pa.array([1])})
    with pytest.raises(StoreError, match="column n is missing"):
        writer.write(FeatureBatch(VIEW.id, True, without))
    one_row = {"account": pa.array([1]), "n": pa.array([1])}
    with pytest.raises(StoreError, match="no event_timestamp"):
        write(**one_row, **{TIMESTAMP: pa.array([None], pa.int64())})


def test_settings_are_refused_without_telling_the_password(tmp_path: Path) -> None:
    for url in "redis://:se#cret@host:1", "http://:secret@host", "redis://u:secret@host:port":
        with pytest.raises(SettingsError) as caught:
            pool(RedisOptions(url=url)).make_connection()
        assert "cret" not in str(caught.value)
        assert "cret" not in repr(RedisOptions(url=url, password="secret"))
    with pytest.raises(SettingsError, match="rediss://"):
        pool(RedisOptions(ca_file=__file__))
    with pytest.raises(SettingsError, match="no TLS file"):
        pool(RedisOptions(url="rediss://host", ca_file=str(tmp_path / "ca.pem")))


def test_only_what_passes_is_waited_out() -> None:
    passing = [
        ConnectionError("refused"),
        TimeoutError("slow"),
        BusyLoadingError("loading"),
        ReadOnlyError("replica"),
        ResponseError("MISCONF disk"),
        ResponseError("BUSY script"),
    ]
    assert all(map(is_away, passing))
    distrust = ConnectionError("tls")
    distrust.__context__ = ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED")
    lasting = [
        AuthenticationError("no"),
        ResponseError("WRONGTYPE"),
        ResponseError("OOM"),
        distrust,
        ValueError("x"),
    ]
    assert not any(map(is_away, lasting))
