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
    key=st.none() | text, headers=st.lists(st.tuples(text, st.none() | text), max_size=3),
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


LETTER = DeadLetter("t", "topic", 0, 7, 5, "null", "no", "bm8=", 2)
STATS = ModelToServeStats("n", "d", "t", "PMML", 1, "f", *[1] * 6, *[1.0] * 5)


@pytest.mark.parametrize(
    ("record", "field", "other"),
    [
        (LETTER, "source", ["topic"]),
        (LETTER, "code", {"null": 1}),
        (LETTER, "partition", "0"),
        (LETTER, "offset", 7.5),
        (LETTER, "event_time", "5"),
        (LETTER, "raw", 5),
        (LETTER, "size", [2]),
        (LETTER, "headers", [[5, "dg=="]]),
        (LETTER, "headers", [["h", 5]]),
        (LETTER, "headers", [["h"]]),
        (LETTER, "cut", "raw"),
        (STATS, "version", [1]),
        (STATS, "since", None),
        (STATS, "p99_ms", "1"),
    ],
)
def test_what_has_something_else_in_a_field_is_no_record(record: object, field: str, other: object):
    """It ended the command that read it: anybody who may write the topic wrote it."""
    data = orjson.dumps({**orjson.loads(encode(record)), field: other})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"^not a {type(record).__name__}: .*{field}"):
        decode(type(record), data)  # type: ignore[type-var]


def test_headers_of_releases_that_kept_one_of_a_name_are_read():
    data = orjson.dumps({**orjson.loads(encode(LETTER)), "headers": {"trace": "YQ=="}})
    assert decode(DeadLetter, data).headers == [("trace", "YQ==")]
