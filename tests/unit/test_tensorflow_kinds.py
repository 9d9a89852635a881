"""Models of the kinds that users have are served, and score as TensorFlow does: in a batch and alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from millrace.files.opening import open_records
from millrace.files.scores import open_scores
from millrace.scoring_files import score_file
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import InputsError, LoadError, ModelError, SmokeTestError, UnsafeModelError
from schemas.micro_batch import MicroBatch
from tests.models import graph, save, zipped
from tests.tensorflow_kinds import FROZEN, KINDS, PAIRS, SAVED, Kind, W, X, served
from udfs.models.descriptor import build, parse
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.runtimes.base import PartialInput
from udfs.models.runtimes.tensorflow import graph_ops
from udfs.models.runtimes.tensorflow.session import configured_tensorflow
from udfs.serving.scoring import score

tf = configured_tensorflow()


def loaded(data: bytes, model_type: str = SAVED, **said: Any) -> LoadedModel:
    policy = LoadPolicy(fields=said.pop("fields", ()), warm_up_batches=(1, 16))
    return load_model(parse(build(data_type="t", model_type=model_type, data=data, **said)), policy)


def scores(model: LoadedModel, records: Any) -> list[dict[str, Any]]:
    """The scores of each record, all of which must be scored."""
    payloads = [orjson.dumps(r) for r in records]
    count = len(payloads)
    batch = MicroBatch("t", "t", payloads, [0] * count, list(range(count)), [0] * count)
    done = score(batch, model, JsonCodec(), raw_json=True)
    assert not done.dead and not done.failures, (done.dead, done.lines[:1])
    return [orjson.loads(line)["millrace"]["scores"] for line in done.lines]


def assert_scored(got: list[dict[str, Any]], kind: Kind) -> None:
    for name, expected in kind.expected.items():
        column = [row[name] for row in got]
        if isinstance(np.ravel(np.array(expected, object))[0], str):
            assert column == expected
        else:
            np.testing.assert_allclose(column, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_it_scores_as_tensorflow_does(name: str, tmp_path: Path) -> None:
    kind = KINDS[name](tmp_path)
    model = loaded(kind.data, kind.model_type, **kind.said)
    assert_scored(scores(model, kind.records), kind)
    assert_scored([scores(model, [record])[0] for record in kind.records], kind)
    many = replace(kind, expected={name: [*column] * 11 for name, column in kind.expected.items()})
    assert_scored(scores(model, [*kind.records] * 11), many)  # kernels take eight or sixteen at once
    assert written(model, kind.records, tmp_path) == scores(model, kind.records)
    model.close()


def written(model: LoadedModel, records: Any, folder: Path) -> list[dict[str, Any]]:
    """What `millrace score` writes of the records, of which a job scores each."""
    file, to = folder / "records.jsonl", folder / "scores.jsonl"
    file.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in records))
    opened = open_records(file, "", model, folder, delimiter="", max_bytes=1_000_000)
    with open_scores(to, "", model.outputs) as into:
        counts = score_file(opened, model, into, 1024)
    assert counts == {"scored": len(records)}
    names = [o.name for o in model.outputs]
    return [{name: row[name] for name in names} for row in map(orjson.loads, to.read_bytes().splitlines())]


def z_score(x: Any) -> dict[str, Any]:
    return {"y": (x - tf.reduce_mean(x, 0)) / (tf.math.reduce_std(x, 0) + 1e-6)}


def left_dropout(x: Any) -> dict[str, Any]:
    return {"y": tf.reduce_sum(tf.nn.dropout(tf.tile(x, [1, 50]), 0.5), 1)}


PAIR = ((None, 2), "float32")


def counting(path: Path) -> bytes:
    module = tf.Module()
    module.seen = tf.Variable(0.0)

    def count(x: Any) -> dict[str, Any]:
        module.seen.assign_add(1.0)
        return {"y": x[:, 0] + module.seen}

    return zipped(save(path / "m", module, {"serving_default": (count, {"x": PAIR})}))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda path: served(path, z_score, x=PAIR),
            "another answer alone than beside others, in output 'y'",
        ),
        (lambda path: served(path, left_dropout, x=PAIR), "other answers at a second call, in output 'y'"),
        (counting, "other answers at a second call, in output 'y'"),
    ],
)
def test_answers_that_depend_on_company_are_refused_unless_that_is_meant(
    make: Any, said: str, tmp_path: Path
) -> None:
    data = make(tmp_path)
    with pytest.raises(SmokeTestError, match=said) as refused:
        loaded(data)
    assert "--batch-dependent" in str(refused.value)
    model = loaded(data, batch_dependent=True)
    assert any(said in note for note in model.load_report.notes)
    model.close()


def test_what_a_call_changes_is_told(tmp_path: Path) -> None:
    model = loaded(counting(tmp_path), batch_dependent=True)
    assert any("each call changes what the model keeps (AssignAdd" in n for n in model.load_report.notes)
    model.close()


def test_random_numbers_in_what_is_served_are_told(tmp_path: Path) -> None:
    """A class that is made of them may be the same in all calls of the trial."""

    def high(x: Any) -> dict[str, Any]:
        return {"y": tf.cast(tf.reduce_sum(tf.nn.dropout(x, 0.5), 1) > 100.0, tf.int32)}

    model = loaded(served(tmp_path, high, x=PAIR))
    assert any("draws random numbers (RandomUniform)" in n for n in model.load_report.notes)
    model.close()


def test_what_draws_random_numbers_is_what_tensorflow_says_has_state() -> None:
    from tensorflow.python.framework import op_def_registry

    known = {op: op_def_registry.get(op) for op in graph_ops.RANDOM.split()}
    stateful = {op for op, definition in known.items() if definition.is_stateful}
    assert stateful - {"StatelessRandomGetAlg"} == graph_ops.DRAWS  # it tells which generator there is


def test_inputs_that_are_not_asked_of_records_are_told(tmp_path: Path) -> None:
    kind = KINDS["an_input_that_no_output_needs"](tmp_path)
    model = loaded(kind.data, **kind.said)
    assert [i.name for i in model.inputs] == ["x"]
    assert any("not asked of records" in n and "label" in n for n in model.load_report.notes)
    model.close()


@pytest.mark.parametrize(
    ("shape", "dtype", "said", "match"),
    [
        ((None, 2), "uint64", {}, "uint64, which no record field holds"),
        ((), "float32", {}, "--constant x=1.0"),
        ((4, 2), "float32", {}, "where 4 is a number of records, say .*--input 'x:float32.2.'"),
        ((None, None), "float32", {}, "--input 'x:float32.4.'"),
        ((), "float32", {"inputs": (PartialInput("x", constant='"a"'),)}, "takes float32"),
        ((), "bool", {"inputs": (PartialInput("x", constant="1"),)}, "takes bool"),
        ((), "float32", {"inputs": (PartialInput("x", constant="[1,2]"),)}, "has the shape"),
        ((), "float32", {"inputs": (PartialInput("z", constant="1"),)}, "has no input 'z'"),
    ],
)
def test_inputs_that_records_cannot_fill_are_refused_with_the_way_out(
    shape: Any, dtype: str, said: Any, match: str, tmp_path: Path
) -> None:
    with pytest.raises(InputsError, match=match):
        loaded(served(tmp_path, lambda x: {"y": tf.reshape(x, [-1, 1])}, x=(shape, dtype)), **said)


@pytest.mark.parametrize(
    ("value", "dtype"), [(256, "uint8"), (-1, "uint8"), (-129, "int8"), (2**32, "uint32"), (7e4, "float16")]
)
def test_a_value_beyond_a_narrow_type_fails_its_record_only(value: Any, dtype: str, tmp_path: Path) -> None:
    model = loaded(served(tmp_path, lambda x: {"y": x}, x=((None,), dtype)))
    payloads = [b'{"x":1}', orjson.dumps({"x": value}), b'{"x":2}']
    batch = MicroBatch("t", "t", payloads, [0] * 3, [0, 1, 2], [0] * 3)
    results = [orjson.loads(line)["millrace"] for line in score(batch, model, JsonCodec(), True).lines]
    assert [r["outcome"] for r in results] == ["scored", "failed", "scored"]
    assert f"takes {dtype}: it does not fit" in results[1]["reason"]
    model.close()


def test_a_list_longer_than_a_sparse_input_is_wide_fails_its_record_only(tmp_path: Path) -> None:
    kind = KINDS["lists_of_any_length_as_sparse"](tmp_path)
    model = loaded(kind.data)
    payloads = [b'{"s":[1]}', b'{"s":[1,2,3,4,5,6]}', b'{"s":1}', b'{"s":[null]}']
    done = score(MicroBatch("t", "t", payloads, [0] * 4, [0, 1, 2, 3], [0] * 4), model, JsonCodec(), True)
    results = [orjson.loads(line)["millrace"] for line in done.lines]
    assert [r["outcome"] for r in results] == ["scored", "failed"]
    assert "holds 6 values, and the model takes at most 5" in results[1]["reason"]
    assert [(d.offset, d.code) for d in done.dead] == [(2, "wrong_shape"), (3, "null")]
    model.close()


def test_outputs_of_a_changing_shape_or_of_no_row_a_record_are_named(tmp_path: Path) -> None:
    words = lambda t: {"tokens": tf.strings.split(t).to_tensor("")}  # noqa: E731
    with pytest.raises(LoadError, match=r"output 'tokens' has the shape .* for others"):
        loaded(served(tmp_path, words, t=((None,), "string")))
    with pytest.raises(ModelError, match=r"'loss' .* not one row a record: choose others by --output"):
        loaded(graph(lambda x: tf.reduce_sum(x, name="loss")), FROZEN)


def test_what_training_left_unread_in_a_frozen_graph_is_left_out_and_told(tmp_path: Path) -> None:
    def build(x: Any) -> None:
        w = tf.constant(W[:2], tf.float32)
        tf.matmul(x, w, name="p")
        tf.shape(x, name="size")
        tf.matmul(x, x, transpose_a=True, name="gradient")

    model = loaded(graph(build), FROZEN)
    assert [o.name for o in model.outputs] == ["p"]
    assert any("gradient, size" in note and "--output" in note for note in model.load_report.notes)
    model.close()


def test_a_model_that_made_up_rows_do_not_fit_says_what_to_give(tmp_path: Path) -> None:
    def score(t: Any) -> dict[str, Any]:
        return {"hour": tf.strings.to_number(tf.strings.substr(t, 11, 2))}

    data = served(tmp_path, score, t=((None,), "string"))
    with pytest.raises(SmokeTestError, match="made-up rows: --smoke gives records of the stream"):
        loaded(data)
    model = loaded(data, smoke_rows=(b'{"t": "2026-11-28T07:44:13Z"}',))
    assert scores(model, [{"t": "2026-11-28T09:00:00Z"}]) == [{"hour": 9.0}]
    model.close()


def test_python_functions_are_refused_in_words_of_their_owner(tmp_path: Path) -> None:
    def score(x: Any) -> dict[str, Any]:
        return {"y": tf.ensure_shape(tf.numpy_function(lambda v: v, [x], tf.float32), (None, 2))}

    with pytest.raises(UnsafeModelError, match=r"PyFunc .* Python function.* as a field of the record"):
        loaded(served(tmp_path, score, x=PAIR))


def test_a_constant_and_fields_of_one_input_contradict_each_other() -> None:
    for given in (PartialInput("x", fields=("a",), constant="1"), PartialInput("x", constant="{")):
        with pytest.raises(ModelError, match="constant"):
            build(data_type="t", data=b"x", inputs=[given])


def test_warm_up_ends_when_its_budget_does_and_larger_batches_are_cut() -> None:
    from udfs.models.warm_up import Budget

    data = graph(lambda x: tf.matmul(x, W, name="y"))
    described = parse(build(data_type="t", data=data))
    tight = LoadPolicy(warm_up_batches=(1, 4, 1000), warm_up=Budget(seconds=0.0))
    model = load_model(described, tight)
    assert model.load_report.rows == 1 and list(model.load_report.warm_up_ms) == [1]
    assert any("batches of 4 were not tried" in note for note in model.load_report.notes)
    np.testing.assert_allclose(model.predict({"x": X})["y"], X @ W, rtol=1e-6)
    model.close()
    model = load_model(described, LoadPolicy(warm_up_batches=(1, 4)))
    assert model.load_report.rows is None and list(model.load_report.warm_up_ms) == [1, 4]
    model.close()


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak to reset")
def test_the_budget_of_memory_holds_in_a_process_that_was_larger_once() -> None:
    from udfs.models.memory import peak_resident
    from udfs.models.warm_up import Budget, warm_up

    large = np.ones(600 << 17)
    del large
    most = peak_resident()

    def call(columns: Any) -> None:
        np.ones((len(columns["x"]), 1 << 18)).sum()  # 2 MB a row

    warmed = warm_up(call, lambda n: {"x": np.zeros(n)}, (1, 64, 256), Budget(bytes=256 << 20))
    assert warmed.rows == 64 and "batches of 256 were not tried" in warmed.note
    assert peak_resident() >= most  # which others go by


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="another backend")
def test_keras_files_are_converted_in_safe_mode_and_served(tmp_path: Path) -> None:
    import keras

    from millrace.checking import described
    from tests.tensorflow_kinds import network

    model = network()
    for name in ("m.keras", "m.h5"):
        model.save(str(tmp_path / name))
        scratch = tmp_path / f"scratch-{name}"
        scratch.mkdir()
        made = described(tmp_path / name, scratch, data_type="t", fields=("a", "b"))
        served_model = made.load()
        got = scores(served_model, [{"a": a, "b": b} for a, b in X.tolist()])
        np.testing.assert_allclose([r["output_0"] for r in got], model(X).numpy(), rtol=1e-6)
        served_model.close()
    target = tmp_path / "target"
    evil = keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    for name in ("evil.keras", "evil.h5"):
        evil.save(str(tmp_path / name))
        with pytest.raises(LoadError, match="safe mode"):
            described(tmp_path / name, tmp_path, data_type="t")
    assert not target.exists()


def test_a_node_of_a_composed_model_may_have_constants(tmp_path: Path) -> None:
    from millrace.checking import described

    kind = KINDS["dropout_with_a_placeholder"](tmp_path)
    (tmp_path / "drop.pb").write_bytes(kind.data)
    (tmp_path / "g.toml").write_text(
        '[[node]]\nname = "drop"\npath = "drop.pb"\n'
        "inputs.keep_prob = { constant = 1 }\ninputs.is_training = { constant = false }\n"
    )
    model = described(tmp_path / "g.toml", tmp_path / "scratch", data_type="t").load()
    assert_scored(scores(model, kind.records), kind)
    model.close()


@pytest.mark.parametrize("shape", [(), (2,), (None,)])
def test_a_constant_of_the_inputs_file_is_given_to_the_call_or_to_each_record(
    shape: tuple[int | None, ...], tmp_path: Path
) -> None:
    from millrace.checking import described
    from millrace.inputs_file import read_inputs

    value = "[0.5, 2.0]" if shape == (2,) else "0.5"
    (tmp_path / "i.toml").write_text(f"[inputs.k]\nconstant = {value}\n")
    said = read_inputs(tmp_path / "i.toml")

    def scaled(x: Any, k: Any) -> dict[str, Any]:
        return {"y": x * (k[:, None] if shape == (None,) else k)}

    data = served(tmp_path, scaled, x=PAIR, k=(shape, "float32"))
    (tmp_path / "m.zip").write_bytes(data)
    model = described(
        tmp_path / "m.zip", tmp_path, data_type="t", inputs=said.inputs, readings=said.readings
    ).load()
    model.readings = said.readings
    np.testing.assert_allclose([r["y"] for r in scores(model, PAIRS)], X * json.loads(value), rtol=1e-6)
    model.close()


def test_a_graph_as_text_and_the_file_of_a_saved_model_are_taken(tmp_path: Path) -> None:
    from google.protobuf import text_format

    from millrace.checking import described

    definition = tf.compat.v1.GraphDef.FromString(graph(lambda x: tf.matmul(x, W, name="y")))
    (tmp_path / "g.pbtxt").write_text(text_format.MessageToString(definition))
    saved = save(
        tmp_path / "export" / "1", tf.Module(), {"serving_default": (lambda x: {"y": x @ W}, {"x": PAIR})}
    )
    for path in (tmp_path / "g.pbtxt", saved / "saved_model.pb", tmp_path / "export"):
        model = described(path, tmp_path, data_type="t").load()
        np.testing.assert_allclose([r["y"] for r in scores(model, PAIRS)], X @ W, rtol=1e-6)
        model.close()
    (tmp_path / "bad.pbtxt").write_text("node { nothing")
    with pytest.raises(LoadError, match="no GraphDef in text form"):
        described(tmp_path / "bad.pbtxt", tmp_path, data_type="t")
