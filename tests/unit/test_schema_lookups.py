"""Looking up schemas costs the stream little: ids that there are not, and a registry that is away while
several models race."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator

import pytest

from schemas.codecs.base import Code, Codec
from schemas.codecs.factory import CodecSpec, RegistrySpec, make_codec
from schemas.codecs.registered.lookup import RegisteredSchema
from schemas.errors import SchemaRegistryError
from schemas.results.answers import AnswerOutcome
from schemas.tensors import DType, Input
from tests.executor_fakes import WAIT, Bench
from tests.serving_fakes import batch_of
from tests.small_registry import SmallRegistry
from udfs.ensemble.routing.router import Router
from udfs.io.schema_registry import SchemaRegistry

X = (Input("x", DType.FLOAT64, (), ("a",)),)
ANSWER_S = 0.02


class Slow(SmallRegistry):
    """Takes its time, on a clock of its own."""

    now = 0.0

    def answer(self, path: str, login: str) -> tuple[int, bytes]:
        self.now += ANSWER_S
        return super().answer(path, login)


@pytest.fixture
def registry() -> Iterator[Slow]:
    with Slow() as server:
        server.schemas[1] = server.schemas[2] = {"schema": "{}", "schemaType": "JSON"}
        yield server


def framed(number: int, record: bytes = b'{"a":1}') -> bytes:
    return struct.pack(">bI", 0, number) + record


def of_kind_json(spec: RegistrySpec) -> CodecSpec:
    return CodecSpec("json", schema_registry=spec)


def test_ids_that_there_are_not_take_a_tenth_of_the_time(
    registry: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream of random ids made the job wait for an answer at each record."""
    asks = SchemaRegistry(RegistrySpec(registry.url), clock=lambda: registry.now)
    codec = make_codec(of_kind_json(RegistrySpec(registry.url)), asks.schema)
    assert codec.decode([framed(1)], X).count == 1
    numbers = random.Random(5).sample(range(1000, 2**31), 3000)
    decoded = codec.decode([framed(1), *map(framed, numbers), framed(1)], X)
    assert decoded.columns["x"].tolist() == [1, 1]
    assert {bad.code for bad in decoded.bad} == {Code.UNKNOWN_SCHEMA} and len(decoded.bad) == len(numbers)
    first, last = decoded.bad[0].reason, decoded.bad[-1].reason
    assert first == f"the schema registry knows no schema of id {numbers[0]}"
    assert f"was not asked for id {numbers[-1]}" in last and "replay the record" in last
    most = 1 / (ANSWER_S * 0.9) + 1  # a second at once, which grows meanwhile, and the last passes it
    assert most - 2 < len(registry.asked) - 1 <= most
    (record,) = caplog.records
    assert record.message.startswith(f"schema registry {registry.url[7:]}: many records name ids that it")
    assert codec.decode([framed(2)], X).bad[0].code == Code.UNKNOWN_SCHEMA
    registry.now += 10
    asked = len(registry.asked)
    assert codec.decode([framed(2), *map(framed, numbers)], X).count == 1
    assert 1 < len(registry.asked) - asked <= 1 + most


def away(number: int) -> RegisteredSchema:
    raise SchemaRegistryError("the schema registry was out of reach")


def test_a_model_is_not_called_before_its_records_schemas_are_known() -> None:
    """The call waited for the registry: it was given up, and the model set aside, as if it did not answer."""
    threads: list[threading.Thread] = []

    def lookup(number: int) -> RegisteredSchema:
        threads.append(threading.current_thread())
        return RegisteredSchema("JSON", "{}")

    bench = Bench(patience_ms=WAIT * 1000, codec=make_codec(of_kind_json(RegistrySpec("http://r")), lookup))
    bench.serve("a", "b")
    numbers = [framed(n, b'{"x":%d,"a":1}' % n) for n in range(1, 40)]
    answers = bench.now("a", "b", numbers=numbers, ms=WAIT * 1000)
    bench.close()
    assert [(a.outcome, a.bad) for a in answers] == [(AnswerOutcome.SCORED, {})] * 2
    assert len(threads) == len(numbers) and set(threads) == {threading.current_thread()}


def test_records_wait_where_the_registry_is_away_and_no_candidate_fails() -> None:
    codec: Codec = make_codec(of_kind_json(RegistrySpec("http://r")), away)
    bench = Bench(codec=codec)
    bench.serve("a")
    with pytest.raises(SchemaRegistryError):
        bench.now("a", numbers=[framed(1)])
    assert bench.executor.pending("0/t") == []
    bench.close()
    router = Router(codec, raw_json=False, max_batch=10, subtask=0)
    router.restore("t", None)
    with pytest.raises(SchemaRegistryError):
        list(router.route(batch_of([framed(1)])))


def test_what_a_record_waited_for_its_schema_is_not_taken_from_its_deadline() -> None:
    now = [1000]

    def lookup(number: int) -> RegisteredSchema:
        now[0] += 60_000
        return RegisteredSchema("JSON", "{}")

    codec = make_codec(of_kind_json(RegistrySpec("http://r")), lookup)
    router = Router(codec, raw_json=False, max_batch=10, subtask=0, now=lambda: now[0])
    router.restore("t", None)
    (routed,) = router.route(batch_of([framed(1), b"", b"no id", framed(1)]))
    assert routed.context.created == 61_000
