"""Serialized `tf.Example`s, made of records by the feature spec that stands in the graph.

Many models are exported to read `tf.Example`s: their input is a text of bytes, and the graph's `ParseExample`
says by name, type and shape what it takes out of it. Records have these features as fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.tensors import LIST, Columns, DType, Input
from udfs.models.runtimes.base import PartialInput
from udfs.models.runtimes.tensorflow.graph_files import CALLS
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, node_of

PARSERS = frozenset({"ParseExample", "ParseExampleV2"})
_DTYPES = {1: DType.FLOAT32, 9: DType.INT64, 7: DType.TEXT}  # all that a tf.Example holds


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature as the graph parses it. `shape` None: a list of any length."""

    name: str
    dtype: DType
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Examples:
    """The text tensor of serialized examples, made of `features` of the record."""

    tensor: str
    features: tuple[Input, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self.features

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        from tensorflow.core.example.example_pb2 import Example  # noqa: PLC0415

        made = [Example() for _ in range(count)]
        for feature in self.features:
            column = columns[_column(feature)]
            for example, value in zip(made, column, strict=True):
                flat = np.ravel(value) if feature.shape != LIST else value
                target = example.features.feature[feature.name]
                if feature.dtype is DType.FLOAT32:
                    target.float_list.value.extend(flat)
                elif feature.dtype is DType.INT64:
                    target.int64_list.value.extend(flat)
                else:
                    target.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in flat)
        texts = np.empty(count, object)
        texts[:] = [example.SerializeToString() for example in made]
        return [texts]


def _column(feature: Input) -> str:
    return feature.name


def parsed_features(walk: GraphWalk, tensor: str) -> tuple[Feature, ...] | None:
    """The features that the graph takes out of serialized examples in `tensor`, None where it parses none.

    Looks through copies and calls. Of several parsers of one tensor the features of all.
    """
    found: dict[str, Feature] = {}
    seen: set[tuple[str | None, str]] = set()
    todo: list[tuple[str | None, str]] = [(None, node_of(tensor))]
    readers: dict[str | None, dict[str, list[tuple[Any, int]]]] = {}
    parsers = 0
    while todo:
        scope, name = todo.pop()
        if (scope, name) in seen:
            continue
        seen.add((scope, name))
        if scope not in readers:
            readers[scope] = _readers(walk, scope)
        for node, at in readers[scope].get(name, ()):
            if node.op == "Identity":
                todo.append((scope, node.name))
            elif node.op in CALLS or node.op in walk.functions:
                callee = node.attr["f"].func.name if node.op in CALLS else node.op
                function = walk.functions.get(callee)
                if function is not None and at < len(function.signature.input_arg):
                    todo.append((callee, function.signature.input_arg[at].name))
            elif node.op in PARSERS and at == 0:
                features = _features(walk, scope, node)
                if features is None:
                    return None
                parsers += 1
                found |= {f.name: f for f in features}
    return tuple(found.values()) if parsers else None


def _nodes(walk: GraphWalk, scope: str | None) -> Any:
    return walk.nodes.values() if scope is None else walk.functions[scope].node_def


def _readers(walk: GraphWalk, scope: str | None) -> dict[str, list[tuple[Any, int]]]:
    found: dict[str, list[tuple[Any, int]]] = {}
    for node in _nodes(walk, scope):
        for at, reference in enumerate(node.input):
            if not reference.startswith("^"):
                found.setdefault(node_of(reference), []).append((node, at))
    return found


def _features(walk: GraphWalk, scope: str | None, node: Any) -> list[Feature] | None:
    """The spec of one parser, None where it is not of constants or asks for more than lists and arrays."""
    constants = {n.name: n for n in _nodes(walk, scope) if n.op == "Const"}

    def texts(at: int) -> list[str]:
        value = _value(constants[node_of(node.input[at])])
        return [t.decode() for t in np.ravel(value).tolist()]

    attr = node.attr
    dense_types, sparse_types = list(attr["Tdense"].list.type), list(attr["sparse_types"].list.type)
    try:
        if node.op == "ParseExampleV2":
            sparse_keys, dense_keys, ragged_keys = texts(2), texts(3), texts(4)
            ragged_types = list(attr["ragged_value_types"].list.type)
        else:
            first = 2 + len(sparse_types)
            sparse_keys = [texts(n)[0] for n in range(2, first)]
            dense_keys = [texts(n)[0] for n in range(first, first + len(dense_types))]
            ragged_keys, ragged_types = [], []
        shapes = [tuple(d.size for d in s.dim) for s in attr["dense_shapes"].list.shape]
        features = [
            Feature(name, _DTYPES[dtype], None if -1 in shape else shape)
            for name, dtype, shape in zip(dense_keys, dense_types, shapes, strict=True)
        ]
        for keys, types in ((sparse_keys, sparse_types), (ragged_keys, ragged_types)):
            features += [Feature(n, _DTYPES[t], None) for n, t in zip(keys, types, strict=True)]
    except (KeyError, ValueError, IndexError):
        return None
    return features


def _value(constant: Any) -> NDArray:
    from tensorflow.python.framework import tensor_util  # noqa: PLC0415

    return tensor_util.MakeNdarray(constant.attr["value"].tensor)


def example_inputs(features: Sequence[Feature], given: Mapping[str, PartialInput]) -> Iterator[Input]:
    """An `Input` for each feature: a field of its name, or the one that the descriptor gives it."""
    for feature in features:
        fields = given[feature.name].fields if feature.name in given else ()
        shape = LIST if feature.shape is None else feature.shape
        if shape == (1,) or len(fields) > 1:
            shape = (len(fields),) if len(fields) > 1 else ()
        yield Input(feature.name, feature.dtype, shape, fields or (feature.name,))
