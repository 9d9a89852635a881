"""Messages as columns are the messages that they would be one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schemas.message_columns import FEW, Column, Messages
from schemas.output_batch import encode_output_batch
from schemas.results.results import json_column, open_bodies
from tests.output_batches import messages_of

counts = st.integers(0, 3 * FEW)
kinds = st.sampled_from([np.dtype("f4"), np.dtype("f8"), np.dtype("i8"), np.dtype("u1"), np.dtype("?")])
shapes = st.sampled_from([(), (1,), (3,), (2, 2), (0,), (1, 1, 2)])


@st.composite
def numbers(draw: Any) -> Any:
    kind, shape = draw(kinds), (draw(counts), *draw(shapes))
    elements = {"allow_nan": False, "allow_infinity": False} if kind.kind == "f" else None
    return draw(arrays.arrays(kind, shape, elements=elements, fill=st.nothing()))


@given(column=numbers())
def test_numbers_are_as_json_has_them_one_by_one(column: Any):
    texts = list(json_column(column, len(column), "y").values(len(column)))
    rows = [np.ascontiguousarray(row) if row.ndim else row for row in column]
    assert texts == [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]


@given(times=st.lists(st.none() | st.integers(0, 2**63 - 1), max_size=3 * FEW))
def test_times_that_may_be_missing_are_values_too(times: list[int | None]):
    texts = list(json_column(times, len(times), "identity").values(len(times)))
    assert texts == [b"null" if time is None else b"%d" % time for time in times]


@given(
    columns=st.lists(
        st.binary(max_size=3) | st.lists(st.binary(max_size=3), min_size=4, max_size=4), min_size=1
    )
)
def test_columns_are_joined_alike_here_and_in_the_jvm(columns: list[bytes | list[bytes]]):
    messages = Messages([Column(c) if isinstance(c, bytes) else Column.of(c) for c in columns], 4)
    one_by_one = [b"".join(c if isinstance(c, bytes) else c[at] for c in columns) for at in range(4)]
    assert list(messages) == one_by_one == [messages[at] for at in range(4)]
    assert messages.lengths().tolist() == list(map(len, one_by_one))
    assert [m.value for m in messages_of(encode_output_batch(messages, [None]))] == one_by_one


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, 3 * FEW])
@pytest.mark.parametrize(
    "odd",
    [b"{}", b"{ }", b' {"a":1} ', b'{"a":1 }', b'{"a":{}}', b'{"millrace":1,"a":2}', b'{"a":"\\u006d"}'],
)
def test_one_odd_object_changes_none_of_its_neighbours(odd: bytes, count: int):
    records = [b'{"a":%d}' % at for at in range(count)]
    records[count // 2] = odd
    texts = [text + b'"last":0}' for text in open_bodies(records).values(count)]
    wanted = [{**orjson.loads(record), "last": 0} for record in records]
    wanted[count // 2].pop("millrace", None)
    assert [orjson.loads(text) for text in texts] == wanted


@pytest.mark.parametrize("count", [1, FEW, 3 * FEW])
@pytest.mark.parametrize("bad", [b"", b"[1]", b"7"])
def test_what_is_no_object_is_refused(bad: bytes, count: int):
    with pytest.raises(ValueError, match="must be a JSON object"):
        open_bodies([b'{"a":1}'] * (count - 1) + [bad])
