"""Scoring a batch: every record comes out once, and one bad record costs none of its neighbours."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import NULL_PAYLOAD, MicroBatch, in_slices
from schemas.results.records import RAW_LIMIT, DeadLetter, Outcome
from schemas.results.results import Scored, read_result
from schemas.tensors import DType, Output
from tests.serving_fakes import NOT_FINITE, POISON, Doubling, batch_of, loaded_model
from udfs.serving.output import Results, outputs
from udfs.serving.scoring import score, unscored

CODEC = JsonCodec(1000)
GOOD = [b'{"a":1}', b'{"a": 2.5, "s": "\xc3\xa9"}', b' {"b":[{}], "a":-3}\n']
BAD = [
    b"",
    b"no json",
    b"[1]",
    b"{}",
    b'{"a":null}',
    b'{"a":"x"}',
    b'{"a":NaN}',
    b'{"a":1,"s":"\x1e"}',
    b"\x1e\x1d",
]
FAILING = [b'{"a":%d}' % POISON, b'{"a":%d}' % NOT_FINITE]


def sent(batch: MicroBatch, runtime: Doubling) -> tuple[list[Scored], list[DeadLetter]]:
    """What leaves for the micro-batch, as results and dead letters."""
    results: list[Scored] = []
    dead: list[DeadLetter] = []
    for output in outputs(batch, score(batch, loaded_model(runtime), CODEC, True)):
        if isinstance(output, DeadLetter):
            dead.append(output)
            continue
        assert isinstance(output, Results)
        for line, event_time in zip(output.lines, output.event_times, strict=True):
            results.append(read_result(line))
            assert results[-1].event_time == event_time
    return results, dead


@given(payloads=st.lists(st.sampled_from(GOOD * 3 + BAD + FAILING) | st.binary(max_size=8), max_size=40))
def test_every_record_comes_out_once_in_order_with_its_own_score(payloads: list[bytes]):
    results, dead = sent(batch_of(payloads, start=100), Doubling(add=1))
    assert sorted([r.offset for r in results] + [d.offset for d in dead]) == [
        100 + k for k in range(len(payloads))
    ]
    assert [r.offset for r in results] == sorted(r.offset for r in results)
    for result in results:
        payload = payloads[result.offset - 100]
        assert result.record == orjson.loads(payload)
        if payload in FAILING:
            assert result.outcome == Outcome.FAILED and result.reason and not result.scores
        else:
            assert result.outcome == Outcome.SCORED and not result.reason
            assert result.scores == {"y": 2 * result.record["a"] + 1}
        assert (result.model, result.version, result.digest) == ("n", 1, "d" * 16)
    for letter in dead:
        assert base64.b64decode(letter.raw) == payloads[letter.offset - 100]
        assert payloads[letter.offset - 100] not in GOOD + FAILING


def test_halving_finds_the_record_at_fault_in_few_calls():
    numbers = [float(n % 10) for n in range(128)]
    numbers[77] = POISON
    runtime = Doubling()
    results, _ = sent(batch_of([b'{"a":%f}' % n for n in numbers]), runtime)
    assert [r.offset for r in results if r.outcome == Outcome.FAILED] == [77]
    assert "cannot score 13" in results[77].reason
    assert len(runtime.batches) == 1 + 2 * 7


def test_whatever_a_model_raises_for_a_record_fails_that_record_only():
    class Raising(Doubling):
        def predict(self, columns):
            if 5.0 in columns["x"]:
                raise ValueError("integer string conversion")
            return super().predict(columns)

    results, dead = sent(batch_of([b'{"a":1}', b'{"a":5}', b'{"a":2}']), Raising())
    assert [r.outcome for r in results] == [Outcome.SCORED, Outcome.FAILED, Outcome.SCORED] and not dead
    assert results[1].reason == "the model failed on the micro-batch: ValueError: integer string conversion"


def test_an_answer_that_is_not_finite_fails_alone_without_another_call():
    runtime = Doubling()
    results, _ = sent(batch_of([b'{"a":1}', b'{"a":17}', b'{"a":2}']), runtime)
    assert [r.outcome for r in results] == [Outcome.SCORED, Outcome.FAILED, Outcome.SCORED]
    assert results[1].reason == "the model's answer is not finite"
    assert runtime.batches == [3]


class Wide(Doubling):
    """Two outputs: pairs, of which a half may be infinite, and texts."""

    outputs = (Output("pair", DType.FLOAT32, (2,)), Output("label", DType.TEXT))

    def predict(self, columns):
        x = columns["x"]
        pair = np.stack([x, np.where(x == 1, -np.inf, np.where(x == 2, np.inf, x))], axis=1).astype("f4")
        return {"pair": pair, "label": np.array([f"<{n:g}>" for n in x], dtype=object)}


def test_one_infinite_part_of_an_output_fails_the_record():
    results, _ = sent(batch_of([b'{"a":%d}' % n for n in range(4)]), Wide())
    assert [r.outcome == Outcome.SCORED for r in results] == [True, False, False, True]
    assert results[3].scores == {"pair": [3.0, 3.0], "label": "<3>"}


def test_large_finite_scores_are_not_taken_for_infinite():
    class Large(Doubling):
        def predict(self, columns):
            return {"y": np.full(len(columns["x"]), 1.7e308)}

    results, _ = sent(batch_of([b'{"a":1}'] * 3), Large())
    assert [r.outcome for r in results] == [Outcome.SCORED] * 3


def test_where_the_shape_is_at_fault_every_record_fails_after_one_call():
    class Misshapen(Doubling):
        def predict(self, columns):
            self.batches.append(len(columns["x"]))
            return {"y": np.zeros((len(columns["x"]), 3))}

    runtime = Misshapen()
    results, _ = sent(batch_of([b'{"a":1}'] * 8), runtime)
    assert [r.outcome for r in results] == [Outcome.FAILED] * 8 and runtime.batches == [8]
    assert "has the shape (8, 3), declared is (n)" in results[0].reason


def test_an_answer_of_another_length_fails():
    class Short(Doubling):
        def predict(self, columns):
            return {"y": np.zeros(2)}

    results, _ = sent(batch_of([b'{"a":1}']), Short())
    assert results[0].outcome == Outcome.FAILED and "2 rows for 1 records" in results[0].reason


class Pipes:
    """A codec that is not JSON: `a|1.5`."""

    def decode(self, payloads, inputs):
        return CODEC.decode([self.to_json(p) or b"" for p in payloads], inputs)

    def to_json(self, payload):
        name, mark, value = payload.partition(b"|")
        return b'{"%b":%b}' % (name, value) if mark else None


@pytest.mark.parametrize("payloads", [[b"a|1", b"a|2"], [b"a|1", b"nothing", b"a|13", b"a|2"], [b"nothing"]])
def test_other_codecs_give_json_results(payloads: list[bytes]):
    batch = batch_of(payloads)
    done = score(batch, loaded_model(Doubling()), Pipes(), raw_json=False)
    results = [read_result(line) for line in done.lines]
    assert [r.offset for r in results] + [d.offset for d in done.dead] == sorted(
        range(len(payloads)), key=lambda k: payloads[k] == b"nothing"
    )
    for result in results:
        assert result.record == {"a": int(payloads[result.offset].partition(b"|")[2])}


class ReadOnly(Pipes):
    """One that can read records of 2 and of 13, and not write them as JSON."""

    def decode(self, payloads, inputs):
        return CODEC.decode([super(ReadOnly, self).to_json(p) or b"" for p in payloads], inputs)

    def to_json(self, payload):
        return None if payload in (b"a|2", b"a|13") else super().to_json(payload)


@pytest.mark.parametrize(
    "payloads",
    [[b"a|1", b"a|2", b"a|3"], [b"a|2"], [b"a|2", b"nothing", b"a|1"], [b"a|1", b"a|13", b"a|2", b"a|17"]],
)
def test_a_record_that_cannot_be_written_is_a_dead_letter_and_no_result_without_it(payloads: list[bytes]):
    """Its result was `{"millrace": ...}` alone."""
    batch = batch_of(payloads)
    done = score(batch, loaded_model(Doubling()), ReadOnly(), raw_json=False)
    results = [read_result(line) for line in done.lines]
    unfit = (b"a|2", b"a|13", b"nothing")
    assert [r.offset for r in results] == [n for n, p in enumerate(payloads) if p not in unfit]
    assert all(r.record == {"a": int(payloads[r.offset].partition(b"|")[2])} for r in results)
    assert [d.offset for d in done.dead if "not be written" in d.reason] == [
        n for n, p in enumerate(payloads) if p in unfit[:2]
    ]
    assert len(done.lines) + len(done.dead) == len(payloads)
    assert done.failures == payloads.count(b"a|17")


def test_unscored_records_are_marked_and_the_rest_are_dead_letters():
    for codec, raw, payloads in (
        (CODEC, True, [b'{"z":1}', b"no", b'{"a":2}']),
        (Pipes(), False, [b"z|1", b"no", b"a|2"]),
    ):
        done = unscored(batch_of(payloads), codec, raw, "no model")
        results = [read_result(line) for line in done.lines]
        assert [(r.offset, r.outcome, r.reason, r.model) for r in results] == [
            (0, Outcome.NO_MODEL, "no model", ""),
            (2, Outcome.NO_MODEL, "no model", ""),
        ]
        assert [r.record for r in results] == [{"z": 1}, {"a": 2}]
        assert [d.offset for d in done.dead] == [1] and done.rows == [0, 2]


def test_a_dead_letter_holds_all_that_identifies_the_record():
    batch = batch_of(
        [b"no"], start=9, keys=[b"\xff"], headers=[(("h", b"\x00"), ("h", None))], event_times=[77]
    )
    (letter,) = score(batch, loaded_model(Doubling()), CODEC, True).dead
    assert (letter.data_type, letter.source, letter.partition, letter.offset) == ("t", "topic", 0, 9)
    assert (letter.event_time, letter.code, letter.size) == (77, "unparsable", 2)
    assert [base64.b64decode(t or "") for t in (letter.raw, letter.key)] == [b"no", b"\xff"]
    assert letter.headers == [("h", base64.b64encode(b"\0").decode()), ("h", None)]


def test_a_deletion_is_a_dead_letter_that_says_so():
    batch = batch_of([b'{"a":1}', NULL_PAYLOAD, b"", NULL_PAYLOAD], null_payloads=frozenset({1}))
    results, dead = sent(batch, Doubling())
    assert [r.offset for r in results] == [0]
    assert [(d.offset, d.raw, d.size) for d in dead] == [(1, None, 0), (2, "", 0), (3, "/w==", 1)]
    assert dead[0].code == "deleted" and "deletes" in dead[0].reason
    assert {d.code for d in dead[1:]} == {"unparsable"}


def test_a_record_without_a_time_stays_without_one():
    results, dead = sent(batch_of([b'{"a":1}', b"no"], event_times=[None, None]), Doubling())
    assert (results[0].event_time, dead[0].event_time) == (None, None)


def test_a_dead_letter_of_a_huge_record_holds_its_beginning():
    (letter,) = score(batch_of([b"x" * (RAW_LIMIT + 1)]), loaded_model(Doubling()), CODEC, True).dead
    assert base64.b64decode(letter.raw) == b"x" * RAW_LIMIT
    assert letter.size == RAW_LIMIT + 1 and letter.code == "too_large"


@pytest.mark.parametrize(("n", "size", "lengths"), [(0, 3, [0]), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_slices(n: int, size: int, lengths: list[int]):
    parts = list(in_slices(batch_of([b"{}"] * n), size))
    assert [len(p) for p in parts] == lengths
    assert [o for p in parts for o in p.offsets] == list(range(n))
