"""Every record of ours fits a message, whatever it repeats of what came in."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.output_batch import MESSAGE_LIMIT
from schemas.results.records import DeadLetter, EventKind, ModelEvent, ModelToServeStats, decode, encode

MEGABYTE = 1 << 20


def letter(**more: Any) -> DeadLetter:
    of: dict[str, Any] = {
        "data_type": "t",
        "source": "topic",
        "partition": 0,
        "offset": 7,
        "event_time": 5,
        "code": "unparsable",
        "reason": "no",
        "raw": "bm8=",
        "size": 2,
    }
    return DeadLetter(**of | more)


def fits(record: Any) -> Any:
    """What is read back from a message of the record."""
    data = encode(record)
    assert len(data) <= MESSAGE_LIMIT
    assert isinstance(orjson.loads(data), dict)
    return decode(type(record), data)


LONG = {
    "latin": "x" * MEGABYTE,
    "accents": "\u00e9" * MEGABYTE,
    "control": "\x01" * MEGABYTE,
    "quotes": '"' * MEGABYTE,
    "astral": "\U0001f347" * MEGABYTE,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("name", ["reason", "data_type", "source", "raw", "key"])
def test_a_long_text_of_a_dead_letter_is_cut(name: str, text: str):
    read = fits(letter(**{name: text}))
    assert 0 < len(getattr(read, name)) < MEGABYTE and text.startswith(getattr(read, name))
    assert (read.partition, read.offset, read.size, read.code) == (0, 7, 2, "unparsable")
    kept = {"reason": "no", "data_type": "t", "source": "topic", "raw": "bm8="}
    assert all(getattr(read, other) == value for other, value in kept.items() if other != name)
    assert read.cut == [name]


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    "headers",
    [
        lambda text: [(text, "dg==")],
        lambda text: [("h", text)],
        lambda text: [("first", "dg=="), ("h", text), ("h", None), ("h", text)],
        lambda text: [(text, text)] * 3,
    ],
)
def test_long_headers_of_a_dead_letter_go(headers: Any, text: str):
    read = fits(letter(headers=headers(text)))
    assert (read.raw, read.reason, read.cut) == ("bm8=", "no", ["headers"])


def test_headers_that_fit_stay_beside_one_that_does_not():
    read = fits(letter(headers=[("a", "dg=="), ("b", "x" * MEGABYTE), ("c", None)]))
    assert [tuple(header) for header in read.headers] == [("a", "dg=="), ("c", None)]


def test_very_many_headers_fit():
    fits(letter(headers=[(f"header-{n}", "dmFsdWU=") for n in range(60_000)]))


@pytest.mark.parametrize("name", ["", "h"])
@pytest.mark.parametrize("value", [None, ""])
def test_very_many_headers_of_nothing_fit(name: str, value: str | None):
    """Two bytes each on the wire, and ten here: the letter was cut for ever, and the job stood still."""
    read = fits(letter(headers=[(name, value)] * 400_000))
    assert read.headers and read.cut == ["headers"] and read.raw == "bm8="


def test_a_record_of_a_megabyte_keeps_a_beginning_that_can_be_read():
    raw = bytes(range(256)) * 4096
    read = fits(letter(raw=base64.b64encode(raw).decode(), reason="\x02" * MEGABYTE))
    assert raw.startswith(base64.b64decode(read.raw)) and base64.b64decode(read.raw)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("name", ["name", "reason", "data_type", "step"])
def test_a_long_text_of_a_model_event_is_cut(name: str, text: str):
    of = {"kind": EventKind.REFUSED, "data_type": "t", "name": "n", "version": 3, "digest": "d" * 64}
    of |= {"at": 1, "subtask": 2, "step": "load", "reason": "r"}
    read = fits(ModelEvent(**of | {name: text}))  # type: ignore[arg-type]
    assert (read.kind, read.version, read.at, read.subtask) == (EventKind.REFUSED, 3, 1, 2)
    assert 0 < len(getattr(read, name)) < MEGABYTE


@pytest.mark.parametrize("name", ["name", "description", "data_type"])
def test_a_long_text_of_statistics_is_cut(name: str):
    numbers = {"since": 1, "at": 2, "subtask": 3, "usage": 4, "batches": 5, "failures": 6}
    numbers |= dict.fromkeys(["duration_ms", "min_ms", "max_ms", "p50_ms", "p99_ms"], 1.5)  # type: ignore[arg-type]
    of = {
        "name": "n",
        "description": "d",
        "data_type": "t",
        "model_type": "PMML",
        "version": 1,
        "digest": "d",
    }
    read = fits(ModelToServeStats(**of | numbers | {name: LONG["control"]}))  # type: ignore[arg-type]
    assert (read.usage, read.failures) == (4, 6) and getattr(read, name)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
grown = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 1000, 60_000]))


@given(
    texts=st.fixed_dictionaries(dict.fromkeys(("data_type", "source", "reason", "raw", "key"), grown)),
    headers=st.lists(st.tuples(grown, st.none() | grown), max_size=4),
)
@settings(max_examples=30)
def test_whatever_is_long_fits(texts: dict[str, str], headers: list[tuple[str, str | None]]):
    read = fits(letter(**texts, headers=headers))
    assert (read.partition, read.offset, read.size) == (0, 7, 2)


def test_what_is_short_is_left_alone():
    whole = letter(headers=[("a", "dg=="), ("a", None)], key="aw==", reason="\x01\u00e9\n")
    assert orjson.loads(encode(whole)) == orjson.loads(orjson.dumps(whole))
