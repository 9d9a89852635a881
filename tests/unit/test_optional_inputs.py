"""Records that lack an optional field, or hold null there, are read as missing by every codec."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from schemas.codecs.avro_codec import AvroCodec
from schemas.codecs.base import Codec
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import MicroBatch
from schemas.tensors import DType, Input
from tests.pmml_documents import Leaf, Split, document, less, tree
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.scoring import score

TYPES = {"f": DType.FLOAT64, "g": DType.FLOAT32, "n": DType.INT64, "b": DType.BOOL, "k": DType.TEXT}
OPTIONAL = [Input(name, dtype, (), (name,), True) for name, dtype in TYPES.items()]
FULL = {"f": 1.5, "g": 2.5, "n": 2**53 + 1, "b": True, "k": "a"}
AVRO = {"f": "double", "g": "float", "n": "long", "b": "boolean", "k": "string"}


@pytest.fixture(params=["json", "avro"])
def coder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Codec, Any]:
    """A codec, and how a record becomes its payload."""
    if request.param == "json":
        return JsonCodec(), lambda record: json.dumps(record).encode()
    fields = [{"name": n, "type": ["null", t], "default": None} for n, t in AVRO.items()]
    schema = {"type": "record", "name": "R", "fields": fields}
    path = tmp_path / "r.avsc"
    path.write_text(json.dumps(schema))

    def encode(record: dict[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
        return stream.getvalue()

    return AvroCodec(str(path)), encode


@pytest.mark.parametrize("name", TYPES)
def test_a_null_and_an_absent_field_are_missing(coder: tuple[Codec, Any], name: str) -> None:
    codec, encode = coder
    absent = {k: v for k, v in FULL.items() if k != name}
    decoded = codec.decode([encode(r) for r in (FULL, FULL | {name: None}, absent)], OPTIONAL)
    assert decoded.count == 3 and not decoded.bad
    column = decoded.columns[name]
    missing = [v is None or v != v for v in column.tolist()]  # noqa: PLR0124 - NaN
    assert missing == [False, True, True] and column[0] == FULL[name]
    for other in set(TYPES) - {name}:
        assert decoded.columns[other].dtype == TYPES[other].numpy
        assert decoded.columns[other].tolist() == [FULL[other]] * 3


@pytest.mark.parametrize("inputs", [OPTIONAL[:2], OPTIONAL])
def test_what_does_not_fit_is_bad_and_leaves_its_neighbours(inputs: list[Input]) -> None:
    bad = {"f": "x"}
    decoded = JsonCodec().decode(
        [json.dumps(r).encode() for r in (FULL, FULL | bad, FULL | {"f": None})], inputs
    )
    assert [b.row for b in decoded.bad] == [1]
    assert np.isnan(decoded.columns["f"]).tolist() == [False, True]


def test_fields_that_are_not_optional_stay_so() -> None:
    inputs = [Input("f", DType.FLOAT64, (), ("f",)), OPTIONAL[1]]
    decoded = JsonCodec().decode([b'{"f": 1, "g": null}', b'{"f": null, "g": 1}', b'{"g": 1}'], inputs)
    assert decoded.count == 1
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "null"), (2, "missing_field")]


def test_a_model_with_a_rule_for_missing_values_scores_them_and_refuses_only_what_has_no_result() -> None:
    ways = [(p, Leaf([], s)) for p, s in zip(less("x", 0.5), ("1", "2"), strict=True)]
    text = document(
        tree(Split(ways, default=1), "regression", attributes='missingValueStrategy="defaultChild"'), True
    )  # type: ignore[arg-type]
    published = parse(build(data_type="d", name="m", model_type="PMML", data=text.encode(), location=None))
    model = load_model(published, LoadPolicy())
    rest = {"y": 0, "k": "red"}
    records = [{"x": 0}, {"x": None}, {}, {"x": "no"}, {"x": 0, "k": "undeclared"}, {"x": 9}]
    payloads = [json.dumps(rest | record).encode() for record in records]
    count = len(payloads)
    zeros = [0] * count
    batch = MicroBatch("d", "s", tuple(payloads), tuple(zeros), tuple(range(count)), tuple(zeros))
    done = score(batch, model, JsonCodec(), True)
    lines = {
        row: json.loads(line)["millrace"]
        for row, line in zip(done.rows or range(count), done.lines, strict=True)
    }
    model.close()
    assert {row: line.get("scores") for row, line in lines.items() if "reason" not in line} == {
        row: {"predicted_t": value} for row, value in ((0, 1.0), (1, 2.0), (2, 2.0), (5, 2.0))
    }
    assert "'k' holds what the model declares invalid" in lines[4]["reason"]
    assert [d.offset for d in done.dead] == [3]
