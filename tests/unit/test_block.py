"""A block crosses to Python and back unharmed, whatever its payloads, keys and headers hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.block import Block, PackedBlock, pack, unpack

marks = st.sampled_from(
    [b"", b"\x1d", b"\x1e", b"\x1d\x1e", b"a\x1eb", b"a\x1d", b"\x1dp\x1d\x1d\x1dYQ==", b"{}"]
)
payload = st.binary(max_size=12) | marks
number = st.integers(-1, 2**63 - 1)
partition, offset = st.integers(0, 2**16 - 1), st.integers(0, 2**47 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
header = st.none() | st.dictionaries(names, payload, min_size=1, max_size=3)
record = st.tuples(payload, partition, offset, number, st.none() | payload, header)


def block_of(rows: list, keyed: bool = True, headed: bool = True) -> Block:
    payloads, partitions, offsets, times, keys, headers = map(list, zip(*rows, strict=True))
    return Block(
        "wine",
        "t",
        payloads,
        partitions,
        offsets,
        times,
        keys if keyed else None,
        headers if headed else None,
    )


@given(rows=st.lists(record, min_size=1, max_size=8), keyed=st.booleans(), headed=st.booleans())
@settings(deadline=None)
def test_what_is_packed_is_unpacked(rows: list, keyed: bool, headed: bool):
    block = block_of(rows, keyed, headed)
    keys = block.keys if block.keys and any(k is not None for k in block.keys) else None
    headers = block.headers if block.headers and any(block.headers) else None
    assert unpack(pack(block)) == replace(block, keys=keys, headers=headers)


def test_a_missing_key_is_not_an_empty_one():
    block = block_of(
        [(b"{}", 0, 0, 0, None, None), (b"{}", 0, 1, 0, b"", None), (b"{}", 0, 2, 0, b"\x1d", None)]
    )
    assert unpack(pack(block)).keys == [None, b"", b"\x1d"]


def test_empty_headers_are_none():
    block = block_of([(b"{}", 0, 0, 0, None, {}), (b"{}", 0, 1, 0, None, {"a": b""})])
    assert unpack(pack(block)).headers == [None, {"a": b""}]


def test_the_layout_that_sql_writes():
    records = b'{}\x1e\x1dpk\x1dk\x1d{"h":"dg=="}\x1dYR5i'
    packed = PackedBlock("wine", "t", 2, records, b"[458752, 524289]", b"[5, 6]")
    assert unpack(packed) == Block(
        "wine", "t", [b"{}", b"a\x1eb"], [0, 1], [7, 8], [5, 6], [None, b"k"], [None, {"h": b"v"}]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"count": 1},
        {"records": b"{}"},
        {"records": b"{}\x1e{}\x1e{}"},
        {"ids": b"[0]"},
        {"event_times": b"[0]"},
        {"event_times": b"[0,1,2]"},
        {"ids": b"[0,1"},
        {"records": b"\x1d\x1e{}"},
    ],
)
def test_parts_that_disagree_are_refused(change: dict):
    packed = PackedBlock("wine", "t", 2, b"{}\x1e{}", b"[0,1]", b"[7,8]")
    assert len(unpack(packed)) == 2
    with pytest.raises(ValueError):
        unpack(replace(packed, **change))


@given(rows=st.lists(record, min_size=1, max_size=8), cut=st.integers(0, 8))
@settings(deadline=None)
def test_slices_make_the_whole(rows: list, cut: int):
    block = block_of(rows)
    first, rest = block.slice(0, cut), block.slice(cut, len(block))
    for name in ("payloads", "partitions", "offsets", "event_times", "keys", "headers"):
        assert [*getattr(first, name), *getattr(rest, name)] == list(getattr(block, name))
