"""What an ONNX model may do: compute, from the record and its own weights, the same at each call."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from schemas.errors import UnsafeModelError
from schemas.onnx_model_pb2 import Attribute, Function, Graph, Model, Node, SparseTensor, Tensor
from udfs.models.runtimes.onnx.document import ML_DOMAIN, ONNX, graphs_in
from udfs.models.runtimes.onnx.trees import check_trees

DOMAINS = frozenset({*ONNX, ML_DOMAIN})
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_RUNTIME_DOMAINS = ("ai.onnx.", "com.microsoft", "com.ms.", "org.pytorch.aten")
REPEATS = frozenset({"Loop", "Scan", "SequenceMap"})
_UNKNOWN_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one model: operators in all, with functions written out; graphs inside each other."""

    max_nodes: int = 20_000
    max_depth: int = 8


def check(model: Model, size: int, bounds: Bounds | None = None) -> bool:
    """Look at every operator and tensor of a model of `size` bytes. True where something in it repeats.

    Raises `UnsafeModelError` for what reaches outside the file, is not the same at each call, or is larger
    than `bounds`; sizes that tensors claim are held against the size of the file, which must hold them.
    """
    bounds = bounds or Bounds()
    functions = {(f.domain, f.name): f for f in model.functions}
    _check_functions(model.functions, functions)
    _check_extent(model, functions, bounds)
    repeats = _check_graph(model.graph, functions, size, bounds.max_depth, "the graph")
    for function in model.functions:
        where = f"function {function.name!r}"
        repeats |= _check_nodes(function.node, functions, size, bounds.max_depth, where)
        _check_attributes(function.attribute_proto, size, where)
    return repeats


Functions = dict[tuple[str, str], Function]


def _check_functions(given: Iterable[Function], functions: Functions) -> None:
    """ONNX Runtime prefers an operator of its own to a function of that name, which nobody would judge."""
    for function in given:
        said = f"the function {function.name!r} of the domain {function.domain!r}"
        if function.domain in DOMAINS or function.domain.startswith(_RUNTIME_DOMAINS):
            raise UnsafeModelError(f"{said} hides an operator: export functions in a domain of their own")
        if functions[function.domain, function.name] is not function:
            raise UnsafeModelError(f"{said} stands there twice, and only one of them would be judged")


def _check_graph(graph: Graph, functions: Functions, size: int, depth: int, where: str) -> bool:
    for tensor in graph.initializer:
        _check_tensor(tensor, size, f"the initialiser {tensor.name!r}")
    _check_sparse(graph.sparse_initializer, where)
    return _check_nodes(graph.node, functions, size, depth, where)


def _check_nodes(nodes: Iterable[Node], functions: Functions, size: int, depth: int, where: str) -> bool:
    repeats = False
    for node in nodes:
        said = f"{node.op_type} (node {node.name or ', '.join(node.output)!r} in {where})"
        if (node.domain, node.op_type) not in functions:
            _check_operator(node, said)
        _check_attributes(node.attribute, size, said)
        repeats |= node.op_type in REPEATS
        for inner in graphs_in(node):
            if depth < 1:
                raise UnsafeModelError(f"operator {said} holds a graph too deep inside others: flatten it")
            repeats |= _check_graph(inner, functions, size, depth - 1, f"a graph inside {node.op_type}")
    return repeats


def _check_operator(node: Node, said: str) -> None:
    if node.domain not in DOMAINS:
        raise UnsafeModelError(
            f"operator {said} is of the domain {node.domain!r}, and only ONNX's own are taken: export "
            "the model without custom operators and without a runtime's own optimisation"
        )
    if node.op_type in RANDOM:
        raise UnsafeModelError(f"operator {said} answers differently at each call: export without it")
    values = {a.name: a.i for a in node.attribute}
    trains = node.op_type == "BatchNormalization" and values.get("training_mode", 0)
    if trains or (node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]):
        raise UnsafeModelError(f"operator {said} is in training mode: export the model for inference")
    if node.domain == ML_DOMAIN and node.op_type.startswith("TreeEnsemble"):
        check_trees(node, said)


def _check_attributes(attributes: Iterable[Attribute], size: int, said: str) -> None:
    for a in attributes:
        for tensor in _tensors(a):
            _check_tensor(tensor, size, f"attribute {a.name!r} of {said}")
        sparse = [a.sparse_tensor] if a.HasField("sparse_tensor") else []
        _check_sparse([*sparse, *a.sparse_tensors], said)


def _tensors(attribute: Attribute) -> Iterator[Tensor]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_tensor(tensor: Tensor, size: int, said: str) -> None:
    if tensor.data_location == Tensor.EXTERNAL or tensor.external_data:
        raise UnsafeModelError(
            f"{said} lies in another file: save the model as one file, with its weights inside, by "
            "onnx.save(onnx.load('model.onnx'), 'whole.onnx')"
        )
    count = math.prod(tensor.dims) if all(d >= 0 for d in tensor.dims) else _UNKNOWN_SIZE
    if count > 2 * size:  # two elements a byte is the narrowest type there is
        raise UnsafeModelError(
            f"{said} claims the shape {tuple(tensor.dims)}, more than a file of {size} bytes can hold"
        )


def _check_sparse(tensors: Iterable[SparseTensor], said: str) -> None:
    for tensor in tensors:
        raise UnsafeModelError(
            f"the sparse tensor {tensor.values.name!r} in {said} may grow beyond bounds: export dense weights"
        )


def _check_extent(model: Model, functions: Functions, bounds: Bounds) -> None:
    """Count the operators that the graph comes to once its functions are written out."""
    calls = {key: Counter(_keys(f.node)) for key, f in functions.items()}
    try:
        order = list(TopologicalSorter({k: set(c) & set(functions) for k, c in calls.items()}).static_order())
    except CycleError as e:
        names = " -> ".join(name for _, name in e.args[1])
        raise UnsafeModelError(f"the model's functions call each other in a circle: {names}") from None
    extent: dict[tuple[str, str], int] = {}
    for key in order:
        extent[key] = sum(times * extent.get(k, 1) for k, times in calls[key].items())
    total = sum(times * extent.get(k, 1) for k, times in Counter(_keys(model.graph.node)).items())
    if total > bounds.max_nodes:
        raise UnsafeModelError(f"the model has {total} operators, allowed are {bounds.max_nodes}")


def _keys(nodes: Iterable[Node]) -> Iterator[tuple[str, str]]:
    todo = list(nodes)
    while todo:
        node = todo.pop()
        yield node.domain, node.op_type
        for inner in graphs_in(node):
            todo += inner.node
