"""Boosted trees as ONNX: their sum, and what the objective makes of it.

onnxmltools reads the trees of XGBoost and LightGBM, which are given to it as those of a plain regression:
what it makes of other objectives, of weights of trees and of several targets is wrong for most of them.
CatBoost writes ONNX itself, and leaves out what some objectives make of the sum.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.conversion_check import Column

_ONLY_TREES = {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}}
_XGBOOST_LINKS = {
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "survival:cox": "exp",
    "survival:aft": "exp",
    "reg:logistic": "sigmoid",
    "binary:hinge": "step",
    "binary:logistic": "classes",
    "multi:softprob": "classes",
    "multi:softmax": "classes",
}
_LIGHTGBM_LINKS = {
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "softplus",
    "binary": "classes",
    "multiclass": "classes",
    "multiclassova": "classes",
}
"""What an objective makes of the sum; that of others is the sum itself."""
_CATBOOST_EXP = ("Poisson", "Tweedie")
_CATBOOST_LABELS = ("MultiLogloss", "MultiCrossEntropy")
_CATBOOST_TARGETS = ("MultiRMSE", "MultiRMSEWithMissingValues")
_LIGHTGBM_HEADER = re.compile(r"^(objective|num_class|num_tree_per_iteration|average_output).*\n", re.M)
_LIGHTGBM_ZERO = 1e-35
_FLOAT, _INT64 = 1, 7  # by the numbers that ONNX gives


@dataclass(frozen=True, slots=True)
class Booster:
    """What stands around the trees of a model that reads `width` columns.

    `target`, `weight`: by tree, of which sum it is a part, and times what. `base`: by sum, what it begins
    with. `link`: what becomes of the sums. `zero_is_missing`: the columns in which 0 is. `by_name`: a
    classifier's scores come as a map by class. `apart`: each class has a probability of its own.
    """

    width: int
    link: str
    target: Sequence[int]
    weight: Sequence[float]
    base: Sequence[float]
    zero_is_missing: Sequence[bool] = ()
    by_name: bool = False
    apart: bool = False


def from_xgboost(model: Any) -> Any:
    """A Booster of XGBoost as an ONNX model: `variable`, or `label` and `probabilities`."""
    import xgboost  # noqa: PLC0415
    from onnxmltools import convert_xgboost  # noqa: PLC0415

    saved = json.loads(model.save_raw("json"))
    learner = saved["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    base = _xgboost_base(xgboost, model, trees=booster["name"] != "gblinear")
    link, width = _XGBOOST_LINKS.get(objective, ""), model.num_features()
    if objective == "binary:logistic" and len(base) > 1:
        link = "sigmoid"  # of several labels, each by itself
    if booster["name"] == "gblinear":
        return _linear(np.array(booster["model"]["weights"], "f").reshape(width + 1, -1), base, link)
    weight = booster.get("weight_drop")
    booster = learner["gradient_booster"] = booster.get("gbtree", booster)
    trees = booster["model"]
    target, trees["tree_info"] = trees["tree_info"], [0] * len(trees["tree_info"])
    learner["objective"] = _ONLY_TREES
    learner["learner_model_param"] |= {"base_score": "0", "num_class": "0", "num_target": "1"}
    alone = xgboost.Booster(model_file=bytearray(json.dumps(saved).encode()))
    around = Booster(width, link, target, weight or [1.0] * len(target), base)
    return _whole(convert_xgboost(alone, initial_types=_columns(width)), around)


def _xgboost_base(xgboost: Any, model: Any, trees: bool) -> list[float]:
    """What each sum begins with, in the sums' own scale: versions of XGBoost keep it in others."""
    rows = np.zeros((1, model.num_features()), "f")
    types = model.feature_types
    first = model[:1] if trees else model
    said = first.predict(xgboost.DMatrix(rows, feature_types=types), output_margin=True).reshape(1, -1)
    data = xgboost.DMatrix(rows, feature_types=types, base_margin=np.zeros_like(said))
    alone = first.predict(data, output_margin=True).reshape(1, -1)
    return [float(base) for base in (said - alone)[0]]


def from_lightgbm(model: Any, dumped: dict[str, Any]) -> Any:
    """A Booster of LightGBM, also as JSON, as ONNX: `variable`, or `label` and `probabilities` by class."""
    import lightgbm  # noqa: PLC0415
    from onnxmltools import convert_lightgbm  # noqa: PLC0415

    name, *said = str(dumped.get("objective", "custom")).split()
    count, sums = len(dumped["tree_info"]), dumped["num_tree_per_iteration"]
    factors = [float(part.removeprefix("sigmoid:")) for part in said if part.startswith("sigmoid:")]
    weight = (factors or [1.0])[0] * (sums / count if dumped["average_output"] else 1.0)
    plain = _LIGHTGBM_HEADER.sub("", model.model_to_string(num_iteration=-1))
    plain = plain.replace("\n", "\nnum_class=1\nnum_tree_per_iteration=1\nobjective=regression\n", 1)
    width = model.num_feature()
    around = Booster(
        width,
        _LIGHTGBM_LINKS.get(name, "square" if "sqrt" in said else ""),
        [i % sums for i in range(count)],
        [weight] * count,
        [0.0] * sums,
        _zero_is_missing(dumped, width),
        by_name=True,
        apart=name == "multiclassova",
    )
    alone = lightgbm.Booster(model_str=plain)
    alone.params = {"objective": "regression"}  # these were read with it, and are what onnxmltools goes by
    return _whole(convert_lightgbm(alone, initial_types=_columns(width)), around)


def _zero_is_missing(dumped: dict[str, Any], width: int) -> list[bool]:
    found = [False] * width
    for tree in dumped["tree_info"]:
        for node in _nodes(tree["tree_structure"], "left_child", "right_child"):
            if node.get("missing_type") == "Zero" and node["decision_type"] == "<=":
                found[node["split_feature"]] = True
    return found


def from_catboost(model: Any, loss: str) -> Any:
    """A model of CatBoost as its own ONNX says it, with what `loss` makes of the sums put right."""
    import onnx  # noqa: PLC0415
    from onnx import helper  # noqa: PLC0415

    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        model.save_model(str(path), format="onnx")
        made = onnx.load(path)
    graph = made.graph
    trees = next(n for n in graph.node if n.op_type.startswith("TreeEnsemble"))
    if loss in _CATBOOST_EXP:
        answer = trees.output[0]
        trees.output[0] = "sums"
        graph.node.append(helper.make_node("Exp", ["sums"], [answer]))
        made.opset_import.append(helper.make_opsetid("", 13))
    elif loss in _CATBOOST_TARGETS:
        _without_classes(graph, trees)
    elif loss in ("MultiClassOneVsAll", *_CATBOOST_LABELS):  # each class by itself
        next(a for a in trees.attribute if a.name == "post_transform").s = b"LOGISTIC"
        if loss in _CATBOOST_LABELS:  # the likeliest of them is no answer
            del graph.output[0]
    return made


def _without_classes(graph: Any, trees: Any) -> None:
    """Make a regression of several targets of what is written as a classification."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    said = {a.name: helper.get_attribute_value(a) for a in trees.attribute}
    said = {k.replace("class_", "target_"): v for k, v in said.items() if not k.startswith("classlabels")}
    said |= {"post_transform": "NONE", "n_targets": max(said["target_ids"]) + 1}
    del graph.node[:], graph.output[:]
    one = helper.make_node("TreeEnsembleRegressor", trees.input, ["predictions"], domain="ai.onnx.ml", **said)
    graph.node.append(one)
    graph.output.append(helper.make_tensor_value_info("predictions", TensorProto.FLOAT, None))


def xgboost_columns(model: Any) -> list[Column]:
    """What a Booster of XGBoost knows of its columns."""
    types, width = model.feature_types, model.num_features()
    columns = [Column(whole=types is not None and types[i] == "c") for i in range(width)]
    if json.loads(model.save_config())["learner"]["gradient_booster"]["name"] == "gblinear":
        return columns
    number = {name: i for i, name in enumerate(model.feature_names or [f"f{i}" for i in range(width)])}
    for tree in model.get_dump(dump_format="json"):
        for node in _nodes(json.loads(tree), "children"):
            if "split" in node:
                columns[number[node["split"]]].add(node["split_condition"])
    return columns


def lightgbm_columns(dumped: dict[str, Any]) -> list[Column]:
    """What a Booster of LightGBM, dumped as JSON, knows of its columns."""
    columns = [Column() for _ in range(dumped["max_feature_idx"] + 1)]
    for tree in dumped["tree_info"]:
        for node in _nodes(tree["tree_structure"], "left_child", "right_child"):
            if "split_feature" in node:
                column = columns[node["split_feature"]]
                column.whole = column.whole or node["decision_type"] == "=="
                column.add([float(value) for value in str(node["threshold"]).split("||")])
    return columns


def _nodes(tree: dict[str, Any], *below: str) -> list[dict[str, Any]]:
    """The nodes of a tree, whose children stand under the names `below`."""
    found, left = [], [tree]
    while left:
        node = left.pop()
        found.append(node)
        for name in below:
            under = node.get(name, [])
            left.extend(under if isinstance(under, list) else [under])
    return found


def _columns(width: int) -> list[tuple[str, Any]]:
    from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415

    return [("x", FloatTensorType([None, width]))]


class _Graph:
    """Nodes and weights, one after the other; each call gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def op(self, kind: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        from onnx import helper  # noqa: PLC0415

        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def weight(self, values: Any, dtype: str = "f") -> str:
        from onnx import numpy_helper  # noqa: PLC0415

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def _whole(trees: Any, around: Booster) -> Any:
    from onnx import helper  # noqa: PLC0415

    (node,) = [n for n in trees.graph.node if n.op_type == "TreeEnsembleRegressor"]
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "name"}
    tree_of = np.array(said["target_treeids"])
    said["target_ids"] = np.array(around.target)[tree_of].tolist()
    weights = np.array(said["target_weights"], "d") * np.array(around.weight)[tree_of]
    said |= {"target_weights": weights.tolist(), "n_targets": len(around.base), "base_values": around.base}
    graph = _Graph()
    x = "x"
    if any(around.zero_is_missing):
        zero = graph.op("LessOrEqual", graph.op("Abs", x), graph.weight(_LIGHTGBM_ZERO))
        zero = graph.op("And", zero, graph.weight([around.zero_is_missing], "?"))
        x = graph.op("Where", zero, graph.weight(np.nan), x)
    sums = graph.op("TreeEnsembleRegressor", x, domain="ai.onnx.ml", **said)
    return _answering(graph, sums, around)


def _linear(weights: NDArray[Any], base: Sequence[float], link: str) -> Any:
    """Of `(width + 1, sums)` weights, the last of which are added. What is missing counts for nothing."""
    graph = _Graph()
    there = graph.op("Where", graph.op("IsNaN", "x"), graph.weight(0.0), "x")
    sums = graph.op("Gemm", there, graph.weight(weights[:-1]), graph.weight(weights[-1] + base))
    return _answering(graph, sums, Booster(len(weights) - 1, link, (), (), base))


def _answering(graph: _Graph, sums: str, around: Booster) -> Any:
    """The model that answers by its link with what it makes of its sums `(n, k)`."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    if around.link == "classes":
        outputs = _classified(graph, sums, around)
    else:
        graph.op("Identity", _linked(graph, sums, around.link), output="variable")
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, len(around.base)])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, around.width])]
    made = helper.make_graph(graph.nodes, "boosted", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def _linked(graph: _Graph, sums: str, link: str) -> str:
    if link == "exp":
        return graph.op("Exp", sums)
    if link == "sigmoid":  # the operator Sigmoid gives 1.5e-8 for all that is less
        below = graph.op("Add", graph.op("Exp", graph.op("Neg", sums)), graph.weight(1.0))
        return graph.op("Reciprocal", below)
    if link == "step":
        return graph.op("Cast", graph.op("Greater", sums, graph.weight(0.0)), to=_FLOAT)
    if link == "softplus":
        return graph.op("Softplus", sums)
    if link == "square":
        return graph.op("Mul", sums, graph.op("Abs", sums))
    return sums


def _classified(graph: _Graph, sums: str, around: Booster) -> list[Any]:
    from onnx import TensorProto, helper  # noqa: PLC0415

    count = len(around.base)
    if count == 1:
        count, yes = 2, _linked(graph, sums, "sigmoid")
        label = graph.op("Greater", yes, graph.weight(0.5))
        label = graph.op("Cast", graph.op("Squeeze", label, graph.weight([1], "q")), to=_INT64)
        scores = graph.op("Concat", graph.op("Sub", graph.weight(1.0), yes), yes, axis=1)
    else:
        scores = _linked(graph, sums, "sigmoid") if around.apart else graph.op("Softmax", sums, axis=1)
        label = graph.op("ArgMax", scores, axis=1, keepdims=0)
    graph.op("Identity", label, output="label")
    told = [helper.make_tensor_value_info("label", TensorProto.INT64, [None])]
    if not around.by_name:
        graph.op("Identity", scores, output="probabilities")
        return [*told, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, count])]
    names = list(range(count))
    graph.op("ZipMap", scores, output="probabilities", domain="ai.onnx.ml", classlabels_int64s=names)
    a_map = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    return [*told, helper.make_value_info("probabilities", helper.make_sequence_type_proto(a_map))]
