"""Dead letters, model events and statistics survive their way through JSON."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results.records import (
    CandidateStats,
    DeadLetter,
    EventKind,
    ModelEvent,
    ModelToServeStats,
    decode,
    encode,
)

text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
dead_letters = st.builds(
    DeadLetter, text, text, integers, integers, integers, text, text, text, integers,
    key=st.none() | text, headers=st.dictionaries(text, text, max_size=3),
)  # fmt: skip
events = st.builds(
    ModelEvent, st.sampled_from(EventKind), text, text, integers, text, integers, integers, text, text, floats
)
stats = st.builds(
    ModelToServeStats, text, text, text, text, integers, text, integers, integers, integers, integers,
    integers, integers, floats, floats, floats, floats, floats, st.booleans(),
)  # fmt: skip
candidates = st.builds(
    CandidateStats, text, text, integers, text, integers, integers, integers, *[integers] * 8, floats, floats,
    st.booleans(),
)  # fmt: skip


@given(record=st.one_of(dead_letters, events, stats, candidates), newer=st.booleans())
@settings(max_examples=300)
def test_a_record_is_read_back_also_from_a_newer_writer(
    record: DeadLetter | ModelEvent | ModelToServeStats | CandidateStats, newer: bool
):
    data = encode(record)
    if newer:
        data = orjson.dumps({**orjson.loads(data), "added later": [1]})
    back = decode(type(record), data)
    assert back == record
    if isinstance(back, ModelEvent):
        assert isinstance(back.kind, EventKind)


@pytest.mark.parametrize("kind", [DeadLetter, ModelEvent, ModelToServeStats, CandidateStats])
@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b'{"kind":"served"}'])
def test_what_is_no_record_is_refused(kind: type, data: bytes):
    with pytest.raises(ValueError, match=r".+"):
        decode(kind, data)


def test_an_unknown_kind_of_event_is_refused():
    event = ModelEvent(EventKind.SERVED, "wine", "n", 1, "d", 0, 0)
    with pytest.raises(ValueError, match="retired"):
        decode(ModelEvent, encode(event).replace(b'"served"', b'"retired"'))


def test_a_key_tells_versions_and_subtasks_apart():
    def key(version: int, subtask: int) -> str:
        return ModelToServeStats(
            "n", "", "wine", "PMML", version, "d", 0, 0, subtask, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0
        ).key

    assert len({key(v, s) for v in (1, 2) for s in (0, 1)}) == 4
