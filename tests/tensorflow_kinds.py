"""Models of the kinds that users have, each small, with records and what TensorFlow answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.models import graph, save, zipped
from udfs.models.runtimes.base import PartialInput
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
v1 = tf.compat.v1
SAVED, FROZEN = "TENSORFLOWSAVED", "TENSORFLOW"
W = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
X = np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, 4.0]], "float32")
PAIRS = [{"x": row.tolist()} for row in X]


@dataclass(frozen=True)
class Kind:
    """`data` of a model as it travels, `said` in its descriptor, and what is `expected` by output."""

    data: bytes
    records: Sequence[Mapping[str, Any]]
    expected: Mapping[str, Sequence[Any]]
    model_type: str = SAVED
    said: Mapping[str, Any] = field(default_factory=dict)


KINDS: dict[str, Callable[[Path], Kind]] = {}


def kind(make: Callable[[Path], Kind]) -> Callable[[Path], Kind]:
    KINDS[make.__name__] = make
    return make


def served(path: Path, function: Callable[..., Any], **inputs: tuple[Sequence[int | None], str]) -> bytes:
    return zipped(save(path / "m", tf.Module(), {"serving_default": (function, inputs)}))


def network(**first: Any) -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential([layers.Input((2,), **first), layers.Dense(3, "relu"), layers.Dense(1)])


@kind
def keras_3_saved_by_tensorflow(path: Path) -> Kind:
    """The saver knows copies of the variables, the signature reads the originals."""
    model = network()
    tf.saved_model.save(model, str(path / "m"))
    records = [{"a": a, "b": b} for a, b in X.tolist()]
    expected = {"output_0": model(X).numpy().tolist()}
    return Kind(zipped(path / "m"), records, expected, said={"fields": ("a", "b")})


@kind
def keras_3_trained_and_wrapped_in_a_module(path: Path) -> Kind:
    model = network()
    model.compile("adam", "mse")
    model.fit(X, np.ones(3), verbose=0)
    module = tf.Module()
    module.model = model
    signature = {"serving_default": (lambda x: {"p": model(x)}, {"x": ((None, 2), "float32")})}
    return Kind(zipped(save(path / "m", module, signature)), PAIRS, {"p": model(X).numpy().tolist()})


@kind
def keras_with_a_vocabulary_file_and_numbers(path: Path) -> Kind:
    import keras

    layers = keras.layers
    words = path / "colours"
    words.write_text("red\nwhite\nrosé\n")
    colour = layers.Input((1,), dtype="string", name="colour")
    age = layers.Input((1,), name="age")
    one_hot = layers.StringLookup(vocabulary=str(words), output_mode="one_hot")(colour)
    model = keras.Model({"colour": colour, "age": age}, layers.Dense(2)(layers.Concatenate()([one_hot, age])))
    model.export(str(path / "m"), verbose=False)
    words.unlink()
    records = [{"colour": c, "age": a} for c, a in (("red", 1.0), ("rosé", 20.5), ("blue", -3.0))]
    given = {n: tf.constant([[r[n]] for r in records]) for n in ("colour", "age")}
    return Kind(zipped(path / "m"), records, {"output_0": model(given).numpy().tolist()})


@kind
def keras_with_all_that_prepares_records(path: Path) -> Kind:
    import keras

    layers = keras.layers
    text, word, code = (layers.Input((1,), dtype=d, name=n) for n, d in
                        (("text", "string"), ("word", "string"), ("code", "int64")))  # fmt: skip
    size = layers.Input((1,), name="size")
    words = layers.TextVectorization(output_mode="tf_idf")
    words.adapt(["a red wine", "a white wine, dry!", "rosé"])
    scaled = layers.Normalization()
    scaled.adapt(np.array([[1.0], [2.0], [6.0]]))
    parts = [
        layers.Flatten()(words(text)),
        layers.Hashing(5, output_mode="one_hot")(word),
        layers.Hashing(3, salt=[1, 2], output_mode="one_hot")(code),
        layers.IntegerLookup(vocabulary=[5, 70], output_mode="multi_hot")(code),
        layers.HashedCrossing(7, output_mode="one_hot")((word, code)),
        layers.Discretization([0.5, 3.0], output_mode="one_hot")(size),
        scaled(size),
    ]
    inputs = {"text": text, "word": word, "code": code, "size": size}
    model = keras.Model(inputs, layers.Concatenate()(parts))
    model.export(str(path / "m"), verbose=False)
    records = [
        {"text": "a Red, red wine", "word": "x", "code": 5, "size": 0.1},
        {"text": "", "word": "", "code": -9, "size": 3.0},
        {"text": "rosé!", "word": "é", "code": 70, "size": -1e6},
    ]
    given = {n: tf.constant([[r[n]] for r in records], dtype=i.dtype) for n, i in inputs.items()}
    return Kind(zipped(path / "m"), records, {"output_0": model(given).numpy().tolist()})


@kind
def keras_over_steps_of_which_some_are_masked(path: Path) -> Kind:
    import keras

    layers = keras.layers
    words = layers.Input((5,), dtype="int32", name="words")
    known = layers.Embedding(9, 4, mask_zero=True)(words)
    model = keras.Model(words, layers.Bidirectional(layers.GRU(3))(known))
    model.export(str(path / "m"), verbose=False)
    rows = [[3, 1, 0, 0, 0], [0, 2, 0, 8, 1], [4, 4, 4, 4, 4]]
    expected = model(np.array(rows, "int32")).numpy().tolist()
    return Kind(zipped(path / "m"), [{"words": row} for row in rows], {"output_0": expected})


@kind
def keras_of_half_precision(path: Path) -> Kind:
    model = network(dtype="float32")
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = network()
        model.export(str(path / "m"), verbose=False)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    answers = model(X).numpy().astype("float64").tolist()
    return Kind(zipped(path / "m"), [{"a": a, "b": b} for a, b in X.tolist()], {"output_0": answers},
                said={"fields": ("a", "b")})  # fmt: skip


def narrow(dtype: str, low: int, high: int) -> Callable[[Path], Kind]:
    def make(path: Path) -> Kind:
        values = [[low, high], [0, 1], [high, low]]
        data = served(
            path, lambda x: {"y": x, "sum": tf.reduce_sum(tf.cast(x, "float64"), 1)}, x=((None, 2), dtype)
        )
        return Kind(data, [{"x": v} for v in values], {"y": values, "sum": [low + high, 1, low + high]})

    return make


KINDS |= {
    "uint8": narrow("uint8", 0, 255),
    "int8": narrow("int8", -128, 127),
    "int16": narrow("int16", -(2**15), 2**15 - 1),
    "uint16": narrow("uint16", 0, 2**16 - 1),
    "uint32": narrow("uint32", 0, 2**32 - 1),
    "float16": narrow("float16", -1024, 2048),
    "bfloat16": narrow("bfloat16", -128, 256),
}


@kind
def a_network_over_steps(path: Path) -> Kind:
    """It writes into lists, and its export leaves out attributes that are as by default."""
    import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((2, 1)), layers.LSTM(3), layers.Dense(1)])
    tf.saved_model.save(model, str(path / "m"))
    signature = tf.saved_model.load(str(path / "m")).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    expected = model(X[..., None]).numpy().tolist()
    return Kind(zipped(path / "m"), [{name: row[:, None].tolist()} for row in X], {"output_0": expected})


@kind
def a_function_mapped_over_the_records(path: Path) -> Kind:
    def mapped(x: Any) -> Any:
        return {"y": tf.map_fn(lambda row: tf.reduce_sum(row * row), x)}

    return Kind(served(path, mapped, x=([None, 2], "float32")), PAIRS, {"y": (X * X).sum(1).tolist()})


@kind
def complex_numbers_out(path: Path) -> Kind:
    data = served(path, lambda x: {"z": tf.complex(x[:, 0], x[:, 1])}, x=((None, 2), "float32"))
    return Kind(data, PAIRS, {"z": X.tolist()})


@kind
def one_record_at_a_time(path: Path) -> Kind:
    return Kind(served(path, lambda x: {"y": x @ W}, x=((1, 2), "float32")), PAIRS, {"y": (X @ W).tolist()})


@kind
def a_fixed_batch_that_the_descriptor_tells(path: Path) -> Kind:
    data = served(path, lambda x: {"y": x @ W}, x=((4, 2), "float32"))
    said = {"inputs": (PartialInput("x", "float32", (2,)),)}
    return Kind(data, PAIRS * 3, {"y": (X @ W).tolist() * 3}, said=said)


@kind
def a_parameter_of_the_call(path: Path) -> Kind:
    data = served(
        path, lambda x, least: {"y": x[:, 0] > least}, x=((None, 2), "float32"), least=((), "float32")
    )
    said = {"inputs": (PartialInput("least", constant="0.3"),)}
    return Kind(data, PAIRS, {"y": [True, False, False]}, said=said)


@kind
def dropout_with_a_placeholder(path: Path) -> Kind:
    def build(x: Any) -> None:
        keep = v1.placeholder(tf.float32, name="keep_prob")
        training = v1.placeholder(tf.bool, (), name="is_training")
        dropped = v1.cond(training, lambda: v1.nn.dropout(x, keep_prob=keep), lambda: x / keep)
        v1.matmul(dropped, W, name="y")

    said = {
        "inputs": (PartialInput("keep_prob", constant="1"), PartialInput("is_training", constant="false"))
    }
    return Kind(graph(build), PAIRS, {"y": (X @ W).tolist()}, FROZEN, said)


@kind
def an_input_that_no_output_needs(path: Path) -> Kind:
    data = served(
        path, lambda x, label: {"y": x @ W, "loss": tf.reduce_sum(x, 1) - label},
        x=((None, 2), "float32"), label=((None,), "float32"),
    )  # fmt: skip
    return Kind(data, PAIRS, {"y": (X @ W).tolist()}, said={"outputs": (("y", "y"),)})


@kind
def names_of_classes_beside_the_scores(path: Path) -> Kind:
    data = served(
        path, lambda x: {"scores": x @ W, "classes": tf.constant(["a", "b"]), "version": tf.constant("v7")},
        x=((None, 2), "float32"),
    )  # fmt: skip
    answers = {"scores": (X @ W).tolist(), "classes": [["a", "b"]] * 3, "version": ["v7"] * 3}
    return Kind(data, PAIRS, answers)


@kind
def prints(path: Path) -> Kind:
    def score(x: Any) -> dict[str, Any]:
        tf.print("batch", tf.shape(x))
        return {"y": x @ W}

    return Kind(served(path, score, x=((None, 2), "float32")), PAIRS, {"y": (X @ W).tolist()})


@kind
def bytes_out(path: Path) -> Kind:
    data = served(path, lambda t: {"b": tf.io.decode_base64(t)}, t=((None,), "string"))
    said = {"smoke_rows": (b'{"t":"YWJj"}',)}
    return Kind(data, [{"t": "_wD-"}, {"t": "YWJj"}], {"b": ["/wD+", "abc"]}, said=said)


def composite(path: Path, spec: Any, function: Callable[[Any], Any]) -> bytes:
    module = tf.Module()
    module.f = tf.function(function)
    concrete = module.f.get_concrete_function(spec)
    tf.saved_model.save(module, str(path / "m"), signatures={"serving_default": concrete})
    return zipped(path / "m")


@kind
def a_loop_and_a_branch_of_tensorflow_1(path: Path) -> Kind:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as made:
        v1.disable_control_flow_v2()
        try:
            x = v1.placeholder("float32", [None, 2], "x")
            halved = v1.cond(tf.reduce_sum(tf.constant(1.0)) > 0, lambda: x / 2, lambda: x)
            ended = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * y + x), [0, halved])
            tf.identity(ended[1], name="y")
        finally:
            v1.enable_control_flow_v2()
    y = X / 2
    for _ in range(3):
        y = y * y + X
    return Kind(made.as_graph_def().SerializeToString(), PAIRS, {"y": y.tolist()}, FROZEN)


@kind
def lists_of_any_length_as_ragged(path: Path) -> Kind:
    spec = tf.RaggedTensorSpec((None, None), tf.int32)
    data = composite(path, spec, lambda ids: {"y": tf.reduce_sum(ids, 1), "n": ids.row_lengths()})
    records: list[Mapping[str, Any]] = [{"ids": [1, 2, 3]}, {"ids": []}, {"ids": [7]}]
    return Kind(data, records, {"y": [6, 0, 7], "n": [3, 0, 1]})


@kind
def lists_of_any_length_filled_up(path: Path) -> Kind:
    spec = tf.RaggedTensorSpec((None, None), tf.int32)
    data = composite(path, spec, lambda ids: {"y": ids.to_tensor(-1, shape=[None, 3])})
    records: list[Mapping[str, Any]] = [{"ids": [1, 2, 3]}, {"ids": []}, {"ids": [7]}]
    return Kind(data, records, {"y": [[1, 2, 3], [-1, -1, -1], [7, -1, -1]]})


@kind
def pairs_of_words(path: Path) -> Kind:
    def pairs(text: Any) -> dict[str, Any]:
        found = tf.strings.ngrams(tf.strings.split(text), 2)
        return {"n": found.row_lengths(), "pairs": tf.strings.reduce_join(found, 1, separator="|")}

    records = [{"text": text} for text in ("the cat sat", "x", "a dog ran fast")]
    expected = {"n": [2, 0, 3], "pairs": ["the cat|cat sat", "", "a dog|dog ran|ran fast"]}
    return Kind(served(path, pairs, text=((None,), "string")), records, expected)


@kind
def numbers_counted_up_to_the_next(path: Path) -> Kind:
    def counted(x: Any) -> dict[str, Any]:
        return {"y": tf.ragged.range(x, x + 1).flat_values}

    data = served(path, counted, x=((None,), "int32"))
    return Kind(data, [{"x": 5}, {"x": -7}, {"x": 2**27}], {"y": [5, -7, 2**27]})


@kind
def lists_of_any_length_as_sparse(path: Path) -> Kind:
    data = composite(path, tf.SparseTensorSpec((None, 5), tf.float32), lambda s: {"y": tf.sparse.to_dense(s)})
    records: list[Mapping[str, Any]] = [{"s": [1.5, 2]}, {"s": []}, {"s": [1, 2, 3, 4, 5]}]
    return Kind(data, records, {"y": [[1.5, 2, 0, 0, 0], [0] * 5, [1, 2, 3, 4, 5]]})


SPEC = {
    "age": tf.io.FixedLenFeature([], tf.float32),
    "job": tf.io.FixedLenFeature([], tf.string),
    "pair": tf.io.FixedLenFeature([2], tf.int64),
    "tags": tf.io.VarLenFeature(tf.string),
}
PEOPLE = [
    {"age": 3.5, "job": "x", "pair": [1, 2], "tags": []},
    {"age": -1.0, "job": "büro", "pair": [-5, 2**40], "tags": ["a", "b", "c"]},
]
PEOPLE_SCORED = {"y": [6.5, 2**40 - 6.0], "n": [1, 5], "tags": [0, 3]}


def of_people(parsed: Mapping[str, Any]) -> dict[str, Any]:
    total = tf.cast(tf.reduce_sum(parsed["pair"], 1), tf.float64) + tf.cast(parsed["age"], tf.float64)
    tags = tf.sparse.to_dense(parsed["tags"], "")
    return {
        "y": total,
        "n": tf.strings.length(parsed["job"]),
        "tags": tf.reduce_sum(tf.cast(tf.not_equal(tags, ""), tf.int32), 1),
    }


@kind
def examples_parsed_in_a_function(path: Path) -> Kind:
    data = served(path, lambda e: of_people(tf.io.parse_example(e, SPEC)), e=((None,), "string"))
    return Kind(data, PEOPLE, PEOPLE_SCORED)


@kind
def examples_parsed_by_tensorflow_1(path: Path) -> Kind:
    made = v1.Graph()
    with made.as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, (None,), name="examples")
        answers = of_people(v1.parse_example(examples, SPEC))
        define = v1.saved_model.predict_signature_def({"examples": examples}, answers)
        builder = v1.saved_model.builder.SavedModelBuilder(str(path / "m"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": define})
        builder.save()
    return Kind(zipped(path / "m"), PEOPLE, PEOPLE_SCORED)


@kind
def examples_with_defaults(path: Path) -> Kind:
    spec = {
        "age": tf.io.FixedLenFeature([], tf.float32, 40.0),
        "visits": tf.io.FixedLenFeature([], tf.int64, 7),
        "job": tf.io.FixedLenFeature([], tf.string, "none"),
        "pair": tf.io.FixedLenFeature([2], tf.int64),
        "tags": tf.io.VarLenFeature(tf.string),
    }

    def score(e: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(e, spec)
        return of_people(parsed) | {"v": parsed["visits"]}

    data = served(path, score, e=((None,), "string"))
    records: list[Mapping[str, Any]] = [
        {"age": 1.0, "visits": 2, "job": "x", "pair": [1, 2], "tags": ["a"]},
        {"age": None, "job": None, "pair": [5, 6]},
        {"visits": 3, "tags": None, "pair": [5, 6]},
    ]
    return Kind(data, records, {"y": [4.0, 51.0, 51.0], "n": [1, 4, 4], "tags": [1, 0, 0], "v": [2, 7, 3]})


@kind
def an_unknown_rank_and_a_given_shape(path: Path) -> Kind:
    """One number a record against three centres: the width of what it meets is not its own."""
    made = v1.Graph()
    with made.as_default():
        x = v1.placeholder(tf.float32, name="x")
        v1.reduce_sum(v1.abs(x - np.array([0, 1, 2], "float32")), 1, name="y")
    said = {"inputs": (PartialInput("x", "float32", (1,)),)}
    data = made.as_graph_def().SerializeToString()
    return Kind(data, [{"x": 0.5}, {"x": 4.0}], {"y": [2.5, 9.0]}, FROZEN, said)


@kind
def a_data_set_left_in_front_of_the_model(path: Path) -> Kind:
    made = v1.Graph()
    with made.as_default():
        batches = tf.data.Dataset.from_tensor_slices(X).batch(2)
        v1.matmul(v1.data.make_one_shot_iterator(batches).get_next(), W, name="y")
    said = {"inputs": (PartialInput("IteratorGetNext", fields=("a", "b")),), "outputs": (("y", "y"),)}
    records = [{"a": a, "b": b} for a, b in X.tolist()]
    return Kind(made.as_graph_def().SerializeToString(), records, {"y": (X @ W).tolist()}, FROZEN, said)


@kind
def a_queue_left_beside_the_model(path: Path) -> Kind:
    def build(x: Any) -> None:
        v1.TextLineReader().read(v1.train.string_input_producer(["a.csv"]))
        v1.matmul(x, W, name="y")

    said = {"inputs": (PartialInput("x"),), "outputs": (("y", "y"),)}
    return Kind(graph(build), PAIRS, {"y": (X @ W).tolist()}, FROZEN, said)


@kind
def another_signature_that_reads_files(path: Path) -> Kind:
    module = tf.Module()
    pair = {"x": ((None, 2), "float32")}

    def reading(x: Any) -> dict[str, Any]:
        return {"y": tf.strings.length(tf.io.read_file("/etc/hostname")) + tf.cast(x[:, 0], tf.int32)}

    signatures = {"serving_default": (lambda x: {"y": x @ W}, pair), "other": (reading, pair)}
    return Kind(zipped(save(path / "m", module, signatures)), PAIRS, {"y": (X @ W).tolist()})
