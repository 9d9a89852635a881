"""Prediction requests as JSON, and what goes out."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.features.assembly_rows import EXPIRED, outcome_rows
from schemas.output_batch import MESSAGE_LIMIT
from tests.output_batches import messages_of
from udfs.enrichment.base import Completed, Expired, FeatureStamp, PredictionRequest
from udfs.enrichment.wire import read_request, write_completed, write_expired, write_request

ASKED = PredictionRequest(id="a", model="m", entities={"house": "h", "district": 3}, created=5)


def test_a_request_comes_back_and_takes_the_records_time_where_it_has_none() -> None:
    assert read_request(write_request(ASKED), 99) == ASKED
    plain = b'{"id": "a", "model": "m", "entities": {"house": "h", "district": 3}}'
    assert read_request(plain, 5) == ASKED


GOOD: dict[str, Any] = {"id": "a", "model": "m", "entities": {"h": 1}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": ""}, r"\$.id"),
        ({"id": 4}, r"\$.id"),
        ({"entities": {"h": 1.5}}, "entities"),
        ({"entities": {"h": None}}, "entities"),
        ({"expires_ms": 0}, "expires_ms"),
        ({"expires_ms": 600_001}, "expires_ms"),
        ({"version": -1}, "version"),
        ({"version": 2**63}, "version"),
        ({"created": 2**63}, "created"),
        ({"model": "m" * 201}, "model"),
        ({"model": "m\0"}, "model"),
        ({"model": "m\n"}, "model"),
        ({"entities": {"h": 2**63}}, "entities"),
        ({"fields": {"x": 2**64}}, "cannot be a record"),
        ({"fields": {"x": 10**400}}, "cannot be a record"),
        ({"fields": {"x": json.loads("[" * 300 + "]" * 300)}}, "cannot be a record"),
        ({"modle": "m"}, "modle"),
    ],
)
def test_what_is_no_request_is_said(changes: dict[str, Any], says: str) -> None:
    assert read_request(orjson.dumps(GOOD), 1).id == "a"
    with pytest.raises(ValueError, match=says):
        read_request(json.dumps(GOOD | changes).encode(), 1)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        read_request(data, 1)
    except ValueError as e:
        assert "not a prediction request" in str(e)


def test_deep_nesting_is_refused() -> None:
    deep = (
        b'{"id": "a", "model": "m", "entities": {}, "fields": {"x": '
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}}"
    )
    with pytest.raises(ValueError, match="not a prediction request"):
        read_request(deep, 1)


def test_a_completed_record_carries_its_stamps() -> None:
    stamps = (FeatureStamp("houses_v3:price", 3, 7.5, 12), FeatureStamp("houses_v3:tags", 3, ["x"], 12, True))
    line = write_completed(Completed(ASKED, "t", {"id": "a", "price": 7.5, "tags": ["x"]}, stamps))
    features = [
        {
            "feature": "houses_v3:price",
            "version": 3,
            "value": 7.5,
            "age_ms": 12,
            "created_on_demand": False,
        },
        {"feature": "houses_v3:tags", "version": 3, "value": ["x"], "age_ms": 12, "created_on_demand": True},
    ]
    assert json.loads(line) == {"id": "a", "price": 7.5, "tags": ["x"], "features": features}
    assert line.endswith(b"}")


def test_an_expiration_says_what_is_missing() -> None:
    line = json.loads(write_expired(Expired(ASKED, {"houses_v3:price": "answered 500"})))
    assert line["missing"] == {"houses_v3:price": "answered 500"} and line["request"]["id"] == "a"


@pytest.mark.parametrize("entity", ["h" * 950_000, "\u00e9" * 470_000])
def test_a_request_that_no_message_could_hold_again_is_told(entity: str) -> None:
    """It came back as a message that Kafka does not take, and the job ended, and again after each restart."""
    short = [1e15] * 90_000  # of five bytes each, which are written as nineteen
    data = orjson.dumps(GOOD | {"fields": {"x": short}}).replace(b"1000000000000000.0", b"1e15")
    with pytest.raises(ValueError, match="900,000 are the most"):
        read_request(data, 1)
    for changes in ({"entities": {"h": entity}}, {"fields": {"x": entity}}):
        with pytest.raises(ValueError, match="900,000 are the most"):
            read_request(orjson.dumps(GOOD | changes), 1)


def test_what_is_too_long_with_its_features_expires_and_says_so() -> None:
    whole = Completed(ASKED, "wine", {"x": [1e15] * 90_000, "id": "a"}, ())
    missing = {f"f{n}": "m" * 300 for n in range(4000)}
    sent = [*outcome_rows([whole, Expired(ASKED, missing), Completed(ASKED, "wine", {"id": "a"}, ())], 5)]
    assert [tag is EXPIRED for tag, _ in sent[:2]] == [True, True] and len(sent) == 3
    messages = [message for _, packed in sent[:2] for message in messages_of(packed)]
    assert all(len(message.value) < MESSAGE_LIMIT for message in messages)
    assert "with its features it has" in orjson.loads(messages[0].value)["reason"]
    assert [message.value for message in messages_of(sent[2])] == [b'{"id":"a","features":[]}']


def test_a_text_that_is_half_a_character_is_no_request() -> None:
    for part in (
        b'"entities": {"h": "\\ud800"}',
        b'"entities": {"\\udfff": 1}',
        b'"entities": {}, "fields": {"x": "\\ud800"}',
    ):
        with pytest.raises(ValueError, match="not a prediction request"):
            read_request(b'{"id": "a", "model": "m", ' + part + b"}", 1)
