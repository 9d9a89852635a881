"""Results that share event time, key and headers travel together, and come apart again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas.block import SEPARATOR

from schemas.codecs.json_codec import JsonCodec
from schemas.results.results import read_result
from tests.serving_fakes import Doubling, block_of, loaded_model
from udfs.serving.output import SHARED, ResultRun, outputs
from udfs.serving.scoring import score

few = st.sampled_from
records = st.tuples(
    few([b'{"a":1}'] * 4 + [b'{"a":13}', b"bad"]),
    few([5, 6]),
    few([None, b"", b"k"]),
    few([None, {"h": b"v"}]),
)


def come_apart(run: ResultRun) -> list[tuple[bytes, int, bytes | None]]:
    """What the JVM makes of a run (see `operators.sinks.result_lines`): line, event time and key."""
    apart = []
    for line, mark in zip(run.lines, run.marks.split(SEPARATOR), strict=True):
        if mark == SHARED:
            apart.append((line, run.event_time, run.key))
        else:
            key = bytes.fromhex(mark[14:].decode()) if mark[13:14] == b"k" else None
            apart.append((line, int(mark[:13]), key))
    return apart


@given(rows=st.lists(records, max_size=60), keyed=st.booleans(), headed=st.booleans())
@settings(deadline=None)
def test_runs_come_apart_into_what_went_in_and_keep_the_order(rows: list, keyed: bool, headed: bool):
    block = block_of(
        [payload for payload, *_ in rows],
        event_times=[time for _, time, _, _ in rows],
        keys=[key for *_, key, _ in rows] if keyed else None,
        headers=[headers for *_, headers in rows] if headed else None,
    )
    scored = score(block, loaded_model(Doubling()), JsonCodec(), True)
    sent = list(outputs(block, scored))
    runs = [e for e in sent if isinstance(e, ResultRun)]
    assert sent == runs + scored.dead
    assert len(scored.dead) == sum(payload == b"bad" for payload, *_ in rows)
    offsets = []
    for run in runs:
        for line, event_time, own_key in come_apart(run):
            result = read_result(line)
            offsets.append(result.offset)
            _, time, key, headers = rows[result.offset]
            assert (event_time, own_key) == (time, key if keyed else None)
            assert run.headers == (headers if headed else None)
            assert result.event_time == time
    assert offsets == [k for k, (payload, *_) in enumerate(rows) if payload != b"bad"]


@pytest.mark.parametrize(("times", "keys", "rows"), [([5] * 40, None, 1), (list(range(40)), None, 1),
    ([5] * 20 + [6] * 20, None, 2), ([5] * 40, [b"%d" % i for i in range(40)], 1)])  # fmt: skip
def test_a_block_goes_out_in_few_rows(times: list[int], keys: list[bytes] | None, rows: int):
    block = block_of([b'{"a":1}'] * 40, event_times=times, keys=keys)
    sent = list(outputs(block, score(block, loaded_model(Doubling()), JsonCodec(), True)))
    assert len(sent) == rows


@pytest.mark.parametrize("payloads", [[], [b"bad"]])
def test_no_results_are_no_runs(payloads: list[bytes]):
    block = block_of(payloads)
    assert not any(
        isinstance(e, ResultRun)
        for e in outputs(block, score(block, loaded_model(Doubling()), JsonCodec(), True))
    )
