"""Entities of a batch as codes: a loop over a few rows, whole columns for many."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import FeatureError
from udfs.features.entity_keys import Spread, entity_codes


def batch(count: int) -> pa.RecordBatch:
    rng = random.Random(7)
    return pa.record_batch({
        "account": [f"a{rng.randrange(20)}" for _ in range(count)],
        "zip": pa.array([rng.randrange(-3, 3) for _ in range(count)], pa.int64()),
    })  # fmt: skip


@pytest.mark.parametrize("columns", [["account"], ["zip"], ["account", "zip"]])
def test_few_and_many_rows_give_the_same_entities_and_parts(columns: list[str]) -> None:
    many = batch(1000)
    codes, entities = entity_codes(many, columns)
    of_many = [entities[code] for code in codes.tolist()]
    assert len(set(entities)) == len(entities)
    spread = Spread(columns, 14, 7)
    of_few, parts = [], []
    for start in range(0, 1000, 50):
        few = many.slice(start, 50)
        codes, entities = entity_codes(few, columns)
        of_few += [entities[code] for code in codes.tolist()]
        parts += spread.of(few).tolist()
    assert of_few == of_many == list(zip(*(many.column(c).to_pylist() for c in columns), strict=True))
    assert parts == Spread(columns, 14, 7).of(many).tolist()


@pytest.mark.parametrize("count", [2, 200])
def test_an_entity_that_is_null_is_an_error(count: int) -> None:
    nulls = pa.record_batch({"account": pa.array([None] + ["a"] * (count - 1), pa.string())})
    with pytest.raises(FeatureError, match=f"'account' is null in 1 of {count} events"):
        entity_codes(nulls, ["account"])


def test_no_rows_have_no_parts() -> None:
    assert Spread(["account"], 14, 7).of(batch(0)).tolist() == []


def test_entities_of_many_columns_and_rows_are_their_own():
    """The product of how many values each column has was beyond 64 bits: rows got the entity of others."""
    columns = {f"c{k}": np.random.default_rng(k).permutation(2000).tolist() for k in range(7)}
    batch = pa.record_batch(columns | {"one": ["x"] * 2000})
    names = ["one", *columns]
    codes, entities = entity_codes(batch, names)
    true = list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))
    assert [entities[code] for code in codes.tolist()] == true
    assert len(entities) == 2000
