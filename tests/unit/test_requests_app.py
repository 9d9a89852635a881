"""The REST endpoint: what it puts on the topic, what it refuses, and what it says while Kafka is away."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from starlette.testclient import TestClient

from millrace.requests_app import MOST_BYTES, Sender, make_app
from schemas.errors import SourceError
from udfs.enrichment.wire import read_request


class MemorySender:
    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []
        self.why = ""
        self.closed = False

    async def send(self, key: bytes, value: bytes) -> str:
        self.sent.append((key, value))
        return self.why

    def close(self) -> None:
        self.closed = True


GOOD: dict[str, Any] = {"model": "estimate", "entities": {"house": "h", "district": 1}}


def test_a_request_goes_on_the_topic_with_id_and_time() -> None:
    sender = MemorySender()
    with TestClient(make_app(sender)) as client:  # type: ignore[arg-type]
        named = client.post("/predict", json={**GOOD, "id": "mine", "expires_ms": 50, "fields": {"x": 1}})
        made = client.post("/predict", json=GOOD)
        assert client.get("/health").json() == {"status": "up"}
    assert (named.status_code, named.json()) == (202, {"id": "mine"})
    (key, value), (_, second) = sender.sent
    asked = read_request(value, 0)
    assert (key, asked.id, asked.expires_ms, asked.fields) == (b"mine", "mine", 50, {"x": 1})
    assert asked.created > 0 and asked.entities == GOOD["entities"]
    assert made.json()["id"] == read_request(second, 0).id != "mine"
    assert sender.closed


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not a prediction request"),
        (b"", 400, "not a prediction request"),
        (json.dumps({"model": "m"}).encode(), 400, "entities"),
        (json.dumps(GOOD | {"expires_ms": 0}).encode(), 400, "expires_ms"),
        (json.dumps(GOOD | {"entities": {"house": 1.5}}).encode(), 400, "entities"),
        (json.dumps(GOOD | {"created": 5}).encode(), 400, "created"),
        (json.dumps(GOOD | {"model": "m\0"}).encode(), 400, "model"),
        (json.dumps(GOOD | {"entities": {"house": 2**63}}).encode(), 400, "entities"),
        (json.dumps(GOOD | {"fields": {"x": 2**64}}).encode(), 400, "cannot be a record"),
        (b" " * (MOST_BYTES + 1), 413, "at most"),
    ],
)
def test_what_is_no_request_goes_nowhere(body: bytes, status: int, says: str) -> None:
    sender = MemorySender()
    with TestClient(make_app(sender)) as client:  # type: ignore[arg-type]
        answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status and says in answer.json()["error"]
    assert sender.sent == []


def test_what_kafka_did_not_take_is_told() -> None:
    sender = MemorySender()
    sender.why = "timed out"
    with TestClient(make_app(sender)) as client:  # type: ignore[arg-type]
        answer = client.post("/predict", json={**GOOD, "id": "a"})
    assert answer.status_code == 503
    assert answer.json() == {"id": "a", "error": "Kafka did not take the request: timed out"}


def test_a_broker_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with TestClient(make_app(Sender(f"127.0.0.1:{port}", "requests", {}, 0.3))) as client:
        answer = client.post("/predict", json=GOOD)
    assert answer.status_code == 503 and "timed out" in answer.json()["error"].lower()


def test_settings_that_the_client_refuses() -> None:
    with pytest.raises(SourceError, match="no Kafka client"):
        Sender("b:1", "requests", {"no.such.property": "x"}, 1)
