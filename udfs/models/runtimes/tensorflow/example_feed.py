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
    """A feature as the graph parses it. `shape` None: a list of any length.

    `optional`: the graph says what it is where it is left out, as it does for lists.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...] | None
    optional: bool = True


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
            column = columns[feature.name]
            for example, value in zip(made, column, strict=True):
                flat = value if feature.shape == LIST else np.ravel(value)
                if feature.optional and (len(flat) == 0 or _is_missing(flat[0])):
                    continue  # the graph says what it is then
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


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


class ExampleParsers:
    """Where a graph parses serialized examples, and what it takes out of them; each scope is indexed once."""

    def __init__(self, walk: GraphWalk) -> None:
        self._walk = walk
        self._readers: dict[str | None, dict[str, list[tuple[Any, int]]]] = {}
        self._constants: dict[str | None, dict[str, Any]] = {}

    def features_of(self, tensor: str) -> tuple[Feature, ...] | None:
        """The features taken out of serialized examples in `tensor`, None where none are parsed of it.

        Looks through copies and calls. Of several parsers of one tensor the features of all.
        """
        found: dict[str, Feature] = {}
        seen: set[tuple[str | None, str]] = set()
        todo: list[tuple[str | None, str]] = [(None, node_of(tensor))]
        parsers = 0
        while todo:
            scope, name = todo.pop()
            if (scope, name) in seen:
                continue
            seen.add((scope, name))
            for node, at in self._indexed(scope).get(name, ()):
                if node.op == "Identity":
                    todo.append((scope, node.name))
                elif node.op in CALLS or node.op in self._walk.functions:
                    todo += self._argument(node, at)
                elif node.op in PARSERS and at == 0:
                    features = self._features(scope, node)
                    if features is None:
                        return None
                    parsers += 1
                    found |= {f.name: f for f in features}
        return tuple(found.values()) if parsers else None

    def _argument(self, node: Any, at: int) -> list[tuple[str | None, str]]:
        """Where the called function reads the argument number `at`."""
        callee = node.attr["f"].func.name if node.op in CALLS else node.op
        function = self._walk.functions.get(callee)
        if function is None or at >= len(function.signature.input_arg):
            return []
        return [(callee, function.signature.input_arg[at].name)]

    def _indexed(self, scope: str | None) -> dict[str, list[tuple[Any, int]]]:
        """Node or argument of a scope -> who reads it, and as which input."""
        if scope not in self._readers:
            nodes = self._walk.nodes.values() if scope is None else self._walk.functions[scope].node_def
            found: dict[str, list[tuple[Any, int]]] = {}
            for node in nodes:
                for at, reference in enumerate(node.input):
                    if not reference.startswith("^"):
                        found.setdefault(node_of(reference), []).append((node, at))
            self._readers[scope] = found
            self._constants[scope] = {n.name: n for n in nodes if n.op == "Const"}
        return self._readers[scope]

    def _features(self, scope: str | None, node: Any) -> list[Feature] | None:
        """The spec of a parser, None where it is not of constants or asks for more than lists and arrays."""
        constants = self._constants[scope]

        def texts(at: int) -> list[str]:
            return [t.decode() for t in np.ravel(_value(constants[node_of(node.input[at])])).tolist()]

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
            data = [i for i in node.input if not i.startswith("^")]
            defaults = data[len(data) - len(dense_keys) :]
            features = [
                Feature(name, _DTYPES[dtype], None, True)
                if -1 in shape
                else Feature(name, _DTYPES[dtype], shape, _given(constants, default))
                for name, dtype, shape, default in zip(dense_keys, dense_types, shapes, defaults, strict=True)
            ]
            for keys, types in ((sparse_keys, sparse_types), (ragged_keys, ragged_types)):
                features += [Feature(n, _DTYPES[t], None) for n, t in zip(keys, types, strict=True)]
        except (KeyError, ValueError, IndexError):
            return None
        return features


def _given(constants: Mapping[str, Any], default: str) -> bool:
    """Whether a default is one: an empty constant stands for none."""
    constant = constants.get(node_of(default))
    return constant is None or bool(_value(constant).size)


def _value(constant: Any) -> NDArray:
    from tensorflow.python.framework import tensor_util  # noqa: PLC0415

    return tensor_util.MakeNdarray(constant.attr["value"].tensor)


def example_inputs(features: Sequence[Feature], given: Mapping[str, PartialInput]) -> Iterator[Input]:
    """An `Input` for each feature: a field of its name, or the fields that the descriptor gives it.

    A record may lack lists, and single values for which the graph has a default; arrays it must have.
    """
    for feature in features:
        fields = given[feature.name].fields if feature.name in given else ()
        shape: tuple[int, ...] = LIST if feature.shape is None else feature.shape
        if len(fields) > 1:
            shape = (len(fields),)
        elif shape == (1,):
            shape = ()
        optional = feature.optional and shape in ((), LIST)
        yield Input(feature.name, feature.dtype, shape, fields or (feature.name,), optional)
