"""Results of a micro-batch: with the time, key and headers of their records, and none that no topic takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rows import DEAD_LETTERS, to_rows
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import MicroBatch
from schemas.output_batch import MESSAGE_LIMIT
from schemas.results.records import DeadLetter, decode
from schemas.results.results import read_result
from tests.output_batches import Message, messages_of
from tests.serving_fakes import Doubling, batch_of, loaded_model
from udfs.serving.output import Output, Results, outputs
from udfs.serving.scoring import score

few = st.sampled_from
records = st.tuples(
    few([b'{"a":1}'] * 4 + [b'{"a":13}', b"bad"]),
    few([5, 6, None]),
    few([None, b"", b"k"]),
    few([(), (("h", b"v"),), (("h", None), ("h", b""))]),
)


def sent_of(batch: MicroBatch) -> list[Output]:
    return list(outputs(batch, score(batch, loaded_model(Doubling()), JsonCodec(), True)))


def come_apart(sent: list[Output]) -> list[Message]:
    """What the JVM makes of the main output."""
    return [m for row in to_rows(sent) if not isinstance(row, tuple) for m in messages_of(row)]


@given(rows=st.lists(records, max_size=60), keyed=st.booleans(), headed=st.booleans())
def test_results_come_apart_into_what_went_in_and_keep_the_order(rows: list, keyed: bool, headed: bool):
    batch = batch_of(
        [payload for payload, *_ in rows],
        event_times=[time for _, time, _, _ in rows],
        keys=[key for _, _, key, _ in rows] if keyed else None,
        headers=[headers for *_, headers in rows] if headed else None,
    )
    scored = score(batch, loaded_model(Doubling()), JsonCodec(), True)
    sent = list(outputs(batch, scored))
    assert sent[len(sent) - len(scored.dead) :] == scored.dead
    assert all(isinstance(e, Results) for e in sent[: len(sent) - len(scored.dead)])
    assert len(scored.dead) == sum(payload == b"bad" for payload, *_ in rows)
    offsets = []
    for message in come_apart(sent):
        result = read_result(message.value)
        offsets.append(result.offset)
        _, time, key, headers = rows[result.offset]
        assert (message.event_time, message.key) == (time, key if keyed else None)
        assert message.headers == (headers if headed else ())
        assert result.event_time == time
    assert offsets == [k for k, (payload, *_) in enumerate(rows) if payload != b"bad"]


@pytest.mark.parametrize(
    ("times", "keys"),
    [([5] * 40, None), (list(range(40)), None), ([5] * 40, [b"%d" % i for i in range(40)])],
)
def test_a_micro_batch_goes_out_in_one_row(times: list[int], keys: list[bytes] | None):
    batch = batch_of([b'{"a":1}'] * 40, event_times=times, keys=keys)
    assert len(sent_of(batch)) == 1 == len(list(to_rows(sent_of(batch))))


@pytest.mark.parametrize("payloads", [[], [b"bad"]])
def test_no_results_are_no_rows(payloads: list[bytes]):
    assert not any(isinstance(e, Results) for e in sent_of(batch_of(payloads)))


def test_dead_letters_go_out_together_under_their_data_type():
    (row,) = to_rows(sent_of(batch_of([b"bad", b"worse"])))
    tag, packed = row
    assert tag is DEAD_LETTERS
    told = [(m.key, decode(DeadLetter, m.value).offset) for m in messages_of(packed)]
    assert told == [(b"t", 0), (b"t", 1)]


def large(size: int, **more: Any) -> MicroBatch:
    """Three records, of which the second is a JSON object of so many bytes."""
    payload = b'{"a":1,"s":"%b"}' % (b"x" * (size - 14))
    assert len(payload) == size
    return batch_of([b'{"a":1}', payload, b'{"a":2}'], **more)


@pytest.mark.parametrize(
    ("size", "more"),
    [
        (MESSAGE_LIMIT, {}),
        (MESSAGE_LIMIT - 10, {}),
        (MESSAGE_LIMIT // 2, {"keys": [None, b"k" * 600_000, None]}),
        (MESSAGE_LIMIT // 2, {"headers": [(), (("h", b"v" * 600_000),), ()]}),
    ],
)
def test_a_result_that_no_topic_takes_is_a_dead_letter_and_its_neighbours_stay(size: int, more: dict):
    # the codec's own bound is above: the record can be scored, its result cannot leave
    batch = large(size, **more)
    scored = score(batch, loaded_model(Doubling()), JsonCodec(2**21), True)
    sent = list(outputs(batch, scored))
    (letter,) = [e for e in sent if isinstance(e, DeadLetter)]
    assert (letter.code, letter.offset, letter.size) == ("too_large", 1, size)
    assert str(MESSAGE_LIMIT) in letter.reason
    kept = come_apart(sent)
    assert [read_result(m.value).offset for m in kept] == [0, 2]
    assert [read_result(m.value).scores for m in kept] == [{"y": 2}, {"y": 4}]
    for row in to_rows(sent):
        for message in messages_of(row[1] if isinstance(row, tuple) else row):
            assert len(message.value) <= MESSAGE_LIMIT


def test_a_result_that_just_fits_leaves():
    size = MESSAGE_LIMIT - 1000
    (results,) = outputs(large(size), score(large(size), loaded_model(Doubling()), JsonCodec(2**21), True))
    assert isinstance(results, Results) and len(results.lines) == 3
