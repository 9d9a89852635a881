"""Sketches: within their bounds, the same in every run, and readable by datasketches."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import datasketches
import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.features.entity_keys import Spread, pack_entity, unpack_entity
from udfs.features.sketches import DistinctSketch, QuantileSketch

MANY = np.random.default_rng(3).permutation(30_000).astype(np.float64)


@pytest.mark.parametrize("q", [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_within_the_rank_error(q: float) -> None:
    of = QuantileSketch(q, 200)
    parts = [reduce(of.combine, of.lift([pa.array(part)])) for part in np.split(MANY, 10)]
    found = of.result(reduce(of.combine, parts))
    assert found is not None
    assert abs(found / len(MANY) - q) < 0.0265  # KLL's bound for k = 200 at 99 % of a whole distribution


def test_quantiles_are_the_same_in_every_run_and_kept_small() -> None:
    of = QuantileSketch(0.5, 200)
    first, second = (reduce(of.combine, of.lift([pa.array(MANY[:5000])])) for _ in range(2))
    assert of.pack(first) == of.pack(second)
    assert sum(map(len, first.levels)) < 3 * 200
    assert sum(len(level) << h for h, level in enumerate(first.levels)) == first.n == 5000


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    q=st.floats(0, 1),
)
def test_few_values_are_ranked_exactly_and_come_back_from_bytes(values: list[float], q: float) -> None:
    of = QuantileSketch(q, 8)
    partial = reduce(of.combine, of.lift([pa.array(values)]))
    again = of.unpack(of.pack(partial))
    assert of.pack(again) == of.pack(partial)
    assert of.result(again) == of.result(partial)
    exact = QuantileSketch(q, 200)
    wanted = sorted(values)[max(1, int(np.ceil(q * len(values)))) - 1]
    assert exact.result(reduce(exact.combine, exact.lift([pa.array(values)]))) == wanted


@pytest.mark.parametrize("n", [1, 2, 150, 200, 201, 5000])
def test_datasketches_reads_our_quantiles(n: int) -> None:
    of = QuantileSketch(0.3, 200)
    partial = reduce(of.combine, of.lift([pa.array(MANY[:n])]))
    theirs = datasketches.kll_doubles_sketch.deserialize(of.pack(partial)[1:])
    assert theirs.n == n
    assert theirs.get_min_value() == MANY[:n].min()
    assert theirs.get_quantile(0.3, True) == of.result(partial)


def test_nan_has_no_rank() -> None:
    assert QuantileSketch(0.5, 200).lift([pa.array([float("nan")])]) == [None]


def test_different_values_are_counted_within_the_error_and_survive_bytes() -> None:
    of = DistinctSketch(12)
    values = pa.array([f"v{i % 5000}" for i in range(20_000)])
    partial = reduce(of.combine, of.lift([values]))
    assert abs(of.result(partial) / 5000 - 1) < 4 * 1.04 / 2**6
    assert of.result(of.unpack(of.pack(partial))) == of.result(partial)
    assert len(of.pack(partial)) < 3000


KEYS = st.one_of(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))


@given(entity=st.lists(KEYS, max_size=4).map(tuple))
def test_an_entity_comes_back_from_its_bytes(entity: tuple[str | int, ...]) -> None:
    assert unpack_entity(pack_entity(entity)) == entity


def test_different_entities_have_different_bytes_and_key_groups_that_never_change() -> None:
    batch = pa.RecordBatch.from_pydict({"a": ["x", "y", "x", "z"], "b": [1, 1, 1, -5]})
    packed = [pack_entity(e) for e in (("x", 1), ("y", 1), ("x", 1), ("z", -5))]
    assert packed[0] == b"\x01\x01\x00\x00\x00x\x00\x01\x00\x00\x00\x00\x00\x00\x00"
    wanted = [mmh3.hash(p, signed=False) % 7 for p in packed]
    assert Spread(["a", "b"], 7, 7).of(batch).tolist() == wanted
    assert Spread(["a", "b"], 7, 7).of(batch.slice(0, 0)).tolist() == []
    one = Spread(["a"], 1000, 1000).of(batch).tolist()
    assert one[0] == one[2]
    assert all(x != y for x, y in pairwise(one))
