"""Each reader of strangers' bytes on the kept corpus of fuzzing, and on changed inputs of it.

`scripts/fuzz` does the same for long, guided by coverage.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.corpus import SEEDS, corpus
from fuzz.targets import TARGETS


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)
    assert all(corpus(name) for name in TARGETS)
    assert sum(len(seed) for name in TARGETS for seed in corpus(name)) < 1 << 20, "keep it small"


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_is_mended(name: str) -> None:
    for seed in corpus(name):
        TARGETS[name](seed)


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some pieces overwritten, left out, repeated, or put in from another."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        piece = draw(
            st.binary(max_size=8)
            | st.just(bytes(data[at:end]) * 2)
            | st.just(draw(st.sampled_from(seeds))[:200])
            | st.sampled_from([b"\xff" * 9, b"\x80" * 10 + b"\x01", b"9" * 400, b"[" * 300, b"\0"])
        )
        data[at:end] = piece
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_raise_nothing_that_is_not_documented(name: str) -> None:
    seeds = [seed for seed in corpus(name) if len(seed) < 20_000]

    @given(changed(seeds))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()
