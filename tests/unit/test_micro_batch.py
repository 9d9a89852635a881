"""A micro-batch crosses to Python and back unharmed, whatever its payloads, keys and headers hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.micro_batch import (
    NULL_PAYLOAD,
    MicroBatch,
    decode_headers,
    decode_micro_batch,
    encode_headers,
    encode_micro_batch,
    in_slices,
    joined,
    record_count,
)

GOLDEN = MicroBatch(
    "wine",
    "tö",
    [b"{}", NULL_PAYLOAD, b""],
    [0, 1, 65536],
    [7, 0, 2**47],
    [5, None, 1_700_000_000_000],
    [None, b"k", b""],
    [(("h", b"v"), ("h", None)), (), (("", b""),)],
    frozenset({1}),
)
GOLDEN_HEX = (
    "0103 0400 0300 0000 03000000"  # version, flags (keys, headers), lengths of type and source, none, count
    "77696e65 74c3b6"
    "0700000000000000 0000000000000000 0000000000800000"  # offsets
    "0500000000000000 0000000000000080 0068e5cf8b010000"  # event times
    "00000000 01000000 00000100"  # partitions
    "02000000 ffffffff 00000000"  # lengths of payloads
    "ffffffff 01000000 00000000"  # of keys
    "13000000 00000000 08000000"  # of headers
    "7b7d 6b"
    "01000000 68 01000000 76 01000000 68 ffffffff 00000000 00000000"
)

marks = st.sampled_from([b"", NULL_PAYLOAD, b"\x1d", b"\x1e", b"a\x1eb", b"\xff\xff", b"{}"])
payload = st.binary(max_size=12) | marks
time = st.integers(0, 2**63 - 1)
partition, offset = st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)
name = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
headers = st.lists(st.tuples(name | st.just("again"), st.none() | payload), max_size=4).map(tuple)
record = st.tuples(st.none() | payload, partition, offset, st.none() | time, st.none() | payload, headers)


def batch_of(rows: list[Any], keyed: bool = True, headed: bool = True, data_type: str = "wine") -> MicroBatch:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
    payloads, partitions, offsets, times, keys, heads = columns
    return MicroBatch(
        data_type,
        "t",
        [NULL_PAYLOAD if p is None else p for p in payloads],
        partitions,
        offsets,
        times,
        keys if keyed else None,
        heads if headed else None,
        frozenset(row for row, p in enumerate(payloads) if p is None),
    )


@given(rows=st.lists(record, max_size=8), keyed=st.booleans(), headed=st.booleans(), data_type=name)
def test_what_is_encoded_is_decoded(rows: list[Any], keyed: bool, headed: bool, data_type: str):
    batch = batch_of(rows, keyed, headed, data_type)
    encoded = encode_micro_batch(batch)
    assert decode_micro_batch(encoded) == batch
    assert record_count(encoded) == len(batch) == len(rows)


def test_a_null_payload_is_not_an_empty_one_nor_one_that_looks_like_it():
    batch = batch_of([(p, 0, n, 5, None, ()) for n, p in enumerate([None, b"", NULL_PAYLOAD])])
    again = decode_micro_batch(encode_micro_batch(batch))
    assert again.payloads == [NULL_PAYLOAD, b"", NULL_PAYLOAD] and again.null_payloads == {0}


def test_a_missing_key_is_not_an_empty_one():
    batch = batch_of([(b"{}", 0, n, 0, key, ()) for n, key in enumerate([None, b"", b"\x1d"])])
    assert decode_micro_batch(encode_micro_batch(batch)).keys == [None, b"", b"\x1d"]


def test_headers_keep_order_repeats_and_null_values():
    of = (("b", b"1"), ("a", None), ("b", b""), ("", b"x"))
    batch = batch_of([(b"{}", 0, 0, 0, None, ()), (b"{}", 0, 1, 0, None, of)])
    assert decode_micro_batch(encode_micro_batch(batch)).headers == [(), of]


def test_a_header_name_that_is_no_text_does_not_stop_the_batch():
    assert decode_headers(encode_headers((("\ud800", b"v"),)))[0][1] == b"v"


@pytest.mark.parametrize(("time", "read"), [(None, None), (-1, None), (-(2**63), None), (0, 0), (1, 1)])
def test_a_time_before_the_epoch_is_none(time: int | None, read: int | None):
    batch = batch_of([(b"{}", 0, 0, time, None, ()), (b"{}", 0, 1, 7, None, ())])
    assert decode_micro_batch(encode_micro_batch(batch)).event_times == [read, 7]


def test_the_layout():
    assert encode_micro_batch(GOLDEN) == bytes.fromhex(GOLDEN_HEX)
    assert decode_micro_batch(bytes.fromhex(GOLDEN_HEX)) == GOLDEN


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused(version: int):
    data = bytes([version]) + encode_micro_batch(GOLDEN)[1:]
    with pytest.raises(StateError, match=f"of version {version} .* reads version 1"):
        decode_micro_batch(data)


@pytest.mark.parametrize("batch", [GOLDEN, MicroBatch("w\u00ef\u00f1e", "\u00fc", [], [], [], [])])
def test_bytes_that_are_cut_or_too_many_are_refused(batch: MicroBatch):
    whole = encode_micro_batch(batch)
    for length in range(len(whole)):
        with pytest.raises(StateError):
            decode_micro_batch(whole[:length])
    with pytest.raises(StateError, match=f"has {len(whole) + 1} bytes, and not the {len(whole)}"):
        decode_micro_batch(whole + b"x")


@pytest.mark.parametrize(
    "change",
    [
        {"partitions": [0]},
        {"offsets": [0, 1, 2, 3]},
        {"event_times": []},
        {"keys": [b"k"]},
        {"headers": [(), ()]},
    ],
)
def test_columns_of_other_lengths_are_refused(change: dict[str, Any]):
    more = {name: getattr(GOLDEN, name) for name in MicroBatch.__dataclass_fields__} | change
    with pytest.raises(ValueError, match="3 records has a column of"):
        encode_micro_batch(MicroBatch(**more))


@given(rows=st.lists(record, min_size=1, max_size=8), cut=st.integers(0, 8))
def test_slices_make_the_whole(rows: list[Any], cut: int):
    batch = batch_of(rows)
    first, rest = batch.slice(0, cut), batch.slice(cut, len(batch))
    for column in ("payloads", "partitions", "offsets", "event_times", "keys", "headers"):
        assert [*getattr(first, column), *getattr(rest, column)] == list(getattr(batch, column))
    assert first.null_payloads | {cut + row for row in rest.null_payloads} == batch.null_payloads
    assert (first.data_type, first.source) == (rest.data_type, rest.source) == ("wine", "t")


@given(rows=st.lists(record, min_size=1, max_size=8), size=st.integers(1, 9), bare=st.booleans())
def test_what_is_joined_is_what_was_sliced(rows: list[Any], size: int, bare: bool):
    batch = batch_of(rows)
    parts = [decode_micro_batch(encode_micro_batch(part)) for part in in_slices(batch, size)]
    if bare:
        parts[0] = replace(parts[0], keys=None, headers=None)
    whole = joined(parts)
    columns = ("payloads", "partitions", "offsets", "event_times", "null_payloads", "data_type", "source")
    for column in columns:
        assert getattr(whole, column) == getattr(decode_micro_batch(encode_micro_batch(batch)), column)
    assert len(encode_micro_batch(whole)) > 0
    for column, absent in (("keys", None), ("headers", ())):
        of_parts = [getattr(part, column) for part in parts]
        if all(one is None for one in of_parts):
            assert getattr(whole, column) is None
        else:
            values = [
                v for part, one in zip(parts, of_parts, strict=True) for v in one or [absent] * len(part)
            ]
            assert getattr(whole, column) == values


@given(rows=st.lists(record, max_size=8), size=st.integers(1, 9))
def test_in_slices_leaves_none_out(rows: list[Any], size: int):
    batch = batch_of(rows)
    parts = list(in_slices(batch, size))
    assert all(len(part) <= size for part in parts)
    assert [p for part in parts for p in part.payloads] == list(batch.payloads)
    assert sum(len(part.null_payloads) for part in parts) == len(batch.null_payloads)
    for part in parts:
        assert decode_micro_batch(encode_micro_batch(part)) == part
