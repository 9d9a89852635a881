"""Results that share event time, key and headers travel together, and come apart again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.block import SEPARATOR
from schemas.codecs.json_codec import JsonCodec
from schemas.results import read_result
from tests.serving_fakes import Doubling, block_of, loaded_model
from udfs.emission import ResultRun, emissions
from udfs.scoring import score

few = st.sampled_from
records = st.tuples(
    few([b'{"a":1}'] * 4 + [b'{"a":13}', b"bad"]),
    few([5, 6]),
    few([None, b"", b"k"]),
    few([None, {"h": b"v"}]),
)


@given(rows=st.lists(records, max_size=30), keyed=st.booleans(), headed=st.booleans())
@settings(deadline=None)
def test_runs_are_as_long_as_they_can_be_and_keep_the_order(rows: list, keyed: bool, headed: bool):
    block = block_of(
        [payload for payload, *_ in rows],
        event_times=[time for _, time, _, _ in rows],
        keys=[key for *_, key, _ in rows] if keyed else None,
        headers=[headers for *_, headers in rows] if headed else None,
    )
    scored = score(block, loaded_model(Doubling()), JsonCodec(), True)
    sent = list(emissions(block, scored))
    runs = [e for e in sent if isinstance(e, ResultRun)]
    assert sent == runs + scored.dead
    assert len(scored.dead) == sum(payload == b"bad" for payload, *_ in rows)
    offsets = []
    for run in runs:
        for line in run.lines.split(SEPARATOR):
            result = read_result(line)
            offsets.append(result.offset)
            _, time, key, headers = rows[result.offset]
            assert (run.event_time, run.key, run.headers) == (
                time, key if keyed else None, headers if headed else None
            )  # fmt: skip
            assert result.event_time == time
    assert offsets == [k for k, (payload, *_) in enumerate(rows) if payload != b"bad"]
    for one, next_one in pairwise(runs):
        assert (one.event_time, one.key, one.headers) != (next_one.event_time, next_one.key, next_one.headers)


@pytest.mark.parametrize("payloads", [[], [b"bad"]])
def test_no_results_are_no_runs(payloads: list[bytes]):
    block = block_of(payloads)
    assert not any(
        isinstance(e, ResultRun)
        for e in emissions(block, score(block, loaded_model(Doubling()), JsonCodec(), True))
    )
