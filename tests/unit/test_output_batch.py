"""What leaves in one go is taken apart again as it was put together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.output_batch import encode_output_batch
from tests.output_batches import Message, messages_of

GOLDEN_HEX = (
    "02 07 0100 02000000"  # version, flags (keys, headers, times), columns, count
    "0500000000000000 0000000000000080"  # event times; none
    "ffffffff 02000000 00000000 7b7d"  # messages: a length each
    "ffffffff 01000000 ffffffff 6b"  # keys
    "ffffffff 12000000 00000000"  # headers
    "01000000 68 01000000 76 00000000 ffffffff"
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
headers = st.lists(st.tuples(text, st.none() | st.binary(max_size=6)), max_size=3).map(tuple)
message = st.builds(
    Message,
    st.binary(max_size=9),
    st.none() | st.integers(0, 2**63 - 1),
    st.none() | st.binary(max_size=4),
    headers,
)


def test_the_layout():
    packed = encode_output_batch([b"{}", b""], [5, None], [b"k", None], [(("h", b"v"), ("", None)), ()])
    assert packed == bytes.fromhex(GOLDEN_HEX)


@given(messages=st.lists(message, max_size=6))
def test_what_is_encoded_comes_apart(messages: list[Message]):
    columns = [[getattr(m, name) for m in messages] for name in ("event_time", "key", "headers")]
    if not messages:
        columns[0] = [None]
    assert messages_of(encode_output_batch([m.value for m in messages], *columns)) == messages


def test_one_time_serves_all():
    packed = encode_output_batch([b"a", b"b", b"c"], [7])
    assert [m.event_time for m in messages_of(packed)] == [7, 7, 7]
    assert len(packed) == 8 + 8 + 4 + 3 * 4 + 3


@pytest.mark.parametrize(
    ("keys", "headers"), [(None, None), ([None, None], None), (None, [(), ()]), ([None, None], [(), ()])]
)
def test_keys_and_headers_that_nobody_has_are_left_out(keys: Any, headers: Any):
    packed = encode_output_batch([b"a", b"b"], [7], keys, headers)
    assert packed == encode_output_batch([b"a", b"b"], [7]) and packed[1] == 0
    assert messages_of(packed) == [Message(b"a", 7), Message(b"b", 7)]


def test_an_empty_key_is_a_key():
    packed = encode_output_batch([b"a", b"b"], [7], [b"", None])
    assert [m.key for m in messages_of(packed)] == [b"", None]


@pytest.mark.parametrize(
    ("times", "keys", "headers"),
    [
        ([], None, None),
        ([1, 2, 3], None, None),
        ([1], [b"k"], None),
        ([1], [b"k", None, None], None),
        ([1], None, [(("h", b""),)]),
        ([1, 2], [b"k"], [(("h", b""),)] * 3),
    ],
)
def test_columns_of_other_lengths_are_refused(times: Any, keys: Any, headers: Any):
    with pytest.raises(ValueError, match="an output batch of 2 messages has columns of"):
        encode_output_batch([b"a", b"b"], times, keys, headers)
