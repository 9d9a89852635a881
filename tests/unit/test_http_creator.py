"""The HTTP creator against answers of every kind, and against services that keep it waiting."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from schemas.features.declarations import FeatureType
from udfs.enrichment.base import Created
from udfs.enrichment.http_creator import HttpCreator
from udfs.enrichment.wire import feature_batches
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import OnDemand

VIEW = StoredView(
    "houses_v1",
    (("house", FeatureType.STRING), ("floor", FeatureType.INT64)),
    (("price", FeatureType.FLOAT64), ("rooms", FeatureType.INT64), ("tags", FeatureType.STRING_LIST)),
    60_000,
)
PATHS = (("price", "offers[?open] | [0].price"), ("rooms", "rooms"), ("tags", "tags"))
HOW = OnDemand("houses_v1", "http://service/houses", PATHS, timeout_ms=30_000, concurrency=2)
GOOD = {"offers": [{"open": False, "price": 1}, {"open": True, "price": 7}], "rooms": 3, "tags": ["a"]}

Handler = Callable[[httpx.Request], httpx.Response]


def wait_for(creator: HttpCreator, count: int = 1) -> list[Created]:
    found: list[Created] = []
    while len(found) < count:
        creator.wait(5)
        found += creator.answers()
    return found


@pytest.fixture
def making() -> Iterator[Callable[[Handler], HttpCreator]]:
    made: list[HttpCreator] = []

    def make(handler: Handler) -> HttpCreator:
        made.append(HttpCreator(["service"], httpx.MockTransport(handler)))
        return made[-1]

    yield make
    for creator in made:
        creator.close()


def test_the_entity_goes_out_and_paths_pick_the_values(making: Any) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, str(request.url), json.loads(request.content)))
        return httpx.Response(200, json=GOOD)

    creator = making(answer)
    assert creator.ask(HOW, VIEW, ("h", 2))
    (made,) = wait_for(creator)
    assert seen == [("POST", "http://service/houses", {"house": "h", "floor": 2})]
    assert (made.view, made.entity, made.error) == (VIEW, ("h", 2), "")
    assert made.values == {"price": 7.0, "rooms": 3, "tags": ["a"]}
    assert type(made.values["price"]) is float
    (batch,) = feature_batches([made])
    (row,) = batch.rows.to_pylist()
    times = {"event_timestamp": made.event_time, "created": made.event_time}
    assert (batch.view, batch.final) == ("houses_v1", True)
    assert row == {"house": "h", "floor": 2, **made.values, **times}


def test_what_the_answer_does_not_have_is_null(making: Any) -> None:
    creator = making(lambda _: httpx.Response(200, json={"rooms": 0}))
    creator.ask(HOW, VIEW, ("h", 2))
    assert wait_for(creator)[0].values == {"price": None, "rooms": 0, "tags": None}


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (httpx.Response(404, json=GOOD), "the service answered 404"),
        (httpx.Response(302, headers={"location": "http://elsewhere/"}), "the service answered 302"),
        (httpx.Response(200, content=b"{"), "the answer is no JSON"),
        (httpx.Response(200, json={"other": 1}), "none of price, rooms, tags"),
        (httpx.Response(200, json=[1, 2]), "none of price, rooms, tags"),
        (httpx.Response(200, json={"rooms": "3"}), "rooms is no int64 but str"),
        (httpx.Response(200, json={"rooms": True}), "rooms is no int64 but bool"),
        (httpx.Response(200, json={"rooms": 2**63}), "rooms is no int64 but int"),
        (httpx.Response(200, json={"rooms": 3.5}), "rooms is no int64 but float"),
        (httpx.Response(200, json={"tags": ["a", 1]}), "tags is no string_list but list"),
        (httpx.Response(200, json={"tags": "a"}), "tags is no string_list but str"),
        (
            httpx.Response(200, json={"offers": [{"open": True, "price": [1]}]}),
            "price is no float64 but list",
        ),
        (httpx.Response(200, content=b" " * 1_000_001), "longer than 1,000,000 bytes"),
    ],
)
def test_an_answer_that_is_none(making: Any, response: httpx.Response, says: str) -> None:
    creator = making(lambda _: response)
    creator.ask(HOW, VIEW, ("h", 2))
    (made,) = wait_for(creator)
    assert says in made.error and made.values == {}


def test_whatever_goes_wrong_is_an_answer(making: Any) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("no such thing")

    creator = making(fail)
    for n in range(5):  # the threads live on
        assert creator.ask(HOW, VIEW, ("h", n))
        assert "RuntimeError: no such thing" in wait_for(creator)[0].error


def test_calls_are_bounded_a_view_and_an_entity_is_asked_once(making: Any) -> None:
    go, seen = threading.Event(), []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["floor"])
        go.wait()
        return httpx.Response(200, json=GOOD)

    creator = making(answer)
    assert [creator.ask(HOW, VIEW, ("h", n)) for n in (1, 2, 3)] == [True, True, False]
    assert creator.ask(HOW, VIEW, ("h", 1))
    other = replace(VIEW, id="other_v1")
    assert creator.ask(replace(HOW, view="other_v1"), other, ("h", 9)), "the places are each view's own"
    assert creator.answers() == []
    go.set()
    assert sorted(made.entity[1] for made in wait_for(creator, 3)) == [1, 2, 9]
    assert creator.ask(HOW, VIEW, ("h", 3))
    assert [made.entity for made in wait_for(creator)] == [("h", 3)]
    assert sorted(seen) == [1, 2, 3, 9]


def test_a_call_that_is_stuck_is_answered_at_its_timeout_and_keeps_its_place(making: Any) -> None:
    go = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        go.wait()
        return httpx.Response(200, json=GOOD)

    creator = making(answer)
    how = replace(HOW, timeout_ms=20, concurrency=1)
    creator.ask(how, VIEW, ("h", 1))
    (made,) = wait_for_timeout(creator)
    assert made.error == "no answer within 20 ms" and made.entity == ("h", 1)
    assert not creator.ask(how, VIEW, ("h", 2)), "its thread has not come back"
    go.set()
    while not creator.ask(replace(how, timeout_ms=30_000), VIEW, ("h", 2)):
        creator.wait(0.01)
    assert [made.entity for made in wait_for(creator)] == [("h", 2)], "the late answer is thrown away"


def wait_for_timeout(creator: HttpCreator) -> list[Created]:
    found: list[Created] = []
    while not found:
        creator.wait(0.005)
        found += creator.answers()
    return found


@pytest.mark.parametrize("body", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"])
def test_a_server_that_begins_and_never_ends(body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve() -> None:
            connection, _ = server.accept()
            connections.append(connection)
            connection.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        creator = HttpCreator(["127.0.0.1"])
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        creator.ask(replace(HOW, url=url, timeout_ms=200), VIEW, ("h", 1))
        (made,) = wait_for_timeout(creator)
        assert made.error == "no answer within 200 ms"
        creator.close()
        thread.join()
        for connection in connections:
            connection.close()


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    creator = HttpCreator(["127.0.0.1"])
    creator.ask(replace(HOW, url=f"http://127.0.0.1:{port}/"), VIEW, ("h", 1))
    assert "ConnectError" in wait_for(creator)[0].error
    creator.close()


def test_a_service_that_is_not_on_the_list_is_not_asked() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=GOOD)

    creator = HttpCreator(["prices:8080"], httpx.MockTransport(answer))
    for number, url in enumerate(["http://service/houses", "http://prices/", "http://prices@service:8080/"]):
        creator.ask(replace(HOW, url=url), VIEW, ("h", number))
        assert "on_demand_hosts" in wait_for(creator)[0].error
    creator.ask(replace(HOW, url="http://prices:8080/"), VIEW, ("h", 9))
    assert wait_for(creator)[0].error == ""
    assert asked == ["http://prices:8080/"]
    creator.close()


def test_a_redirection_is_not_followed(making: Any) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(302, headers={"location": "http://service/secret"})

    creator = making(answer)
    creator.ask(HOW, VIEW, ("h", 1))
    assert wait_for(creator)[0].error == "the service answered 302" and asked == ["/houses"]


def test_an_answer_that_unpacks_to_more_is_refused(making: Any) -> None:
    packed = gzip.compress(b" " * 50_000_000)
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})

    creator = making(answer)
    creator.ask(HOW, VIEW, ("h", 1))
    assert "encoded as 'gzip'" in wait_for(creator)[0].error and seen == ["identity"]
