"""An ONNX file read as far as it must be known, and cut down to what is served of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from schemas.errors import LoadError
from schemas.onnx_model_pb2 import Attribute, Graph, Model, Node

ML_DOMAIN = "ai.onnx.ml"
ONNX = ("", "ai.onnx")
FLOAT, INT64, BFLOAT16 = 1, 7, 16  # by the numbers that ONNX gives
_SAME_VALUES = frozenset({"Cast", "Flatten", "Gather", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An output as it is offered: `tensor` is fetched; `classes` name its columns where they stand apart."""

    name: str
    tensor: str
    classes: tuple[str, ...] = ()


def parsed(data: bytes) -> Model:
    """Read a file. Raises `LoadError` for bytes that are no ONNX model, or a part of one."""
    model = Model()
    try:
        model.ParseFromString(data)
    except DecodeError as e:
        raise LoadError(
            f"the {len(data)} bytes are no ONNX model, are cut short, or nest too deeply: {e}"
        ) from None
    if not model.ir_version or not model.HasField("graph") or not model.opset_import:
        raise LoadError(
            f"the {len(data)} bytes are no whole ONNX model: "
            "ir_version, graph or opset_import is missing; export or copy it again"
        )
    if not model.graph.node:
        raise LoadError("the ONNX graph has no operators: export the whole model")
    return model


def is_onnx(path: Path) -> bool:
    """Whether a file looks like an ONNX model: a version and a graph, which no other protobuf has there."""
    model = Model()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    return model.ir_version > 0 and bool(model.graph.node)


def answers(model: Model) -> list[Answer]:
    """What the model answers, in order. A ZipMap's output stands for the tensor that it would take apart.

    A sequence that is put together of tensors is one answer each, `name_0` and so on. One of bfloat16, which
    numpy lacks, is made float by an operator that is added to `model`.
    """
    maker = {o: n for n in model.graph.node for o in n.output}
    found: list[Answer] = []
    for o in model.graph.output:
        node = maker.get(o.name, Node())
        if node.op_type == "ZipMap" and node.domain == ML_DOMAIN:
            found.append(_by_class(o.name, node))
        elif node.op_type == "SequenceConstruct" and node.domain in ONNX:
            found += [Answer(f"{o.name}_{i}", tensor) for i, tensor in enumerate(node.input)]
        elif o.type.tensor_type.elem_type == BFLOAT16:
            found.append(Answer(o.name, _as_float(model.graph, o.name)))
        else:
            found.append(Answer(o.name, o.name))
    return found


def _as_float(graph: Graph, name: str) -> str:
    made = f"{name}/float"
    cast = graph.node.add(op_type="Cast", input=[name], output=[made])
    cast.attribute.add(name="to", type=Attribute.INT, i=FLOAT)
    return made


def _by_class(name: str, zip_map: Node) -> Answer:
    classes: list[str] = []
    for a in zip_map.attribute:
        classes += [str(i) for i in a.ints] + [s.decode("utf-8", "replace") for s in a.strings]
    if not classes or len(zip_map.input) != 1:
        raise LoadError(f"output {name!r} comes from a ZipMap that names no classes: export it again")
    return Answer(name, zip_map.input[0], tuple(classes))


def categories(model: Model) -> dict[str, list[str] | list[int]]:
    """Input -> the values that its encoder knows, for the inputs that one encoder reads as they are."""
    origin = {i.name: i.name for i in model.graph.input}
    known: dict[str, list[str] | list[int]] = {}
    for node in model.graph.node:
        source = origin.get(node.input[0]) if node.input else None
        if source is None:
            continue
        if node.op_type in _SAME_VALUES and node.output:
            origin[node.output[0]] = source
        elif node.op_type in ("OneHotEncoder", "LabelEncoder") and node.domain == ML_DOMAIN:
            values = _keys(node)
            known[source] = values if known.get(source, values) == values else []
    return {name: values for name, values in known.items() if values}


def _keys(encoder: Node) -> list[str] | list[int]:
    for a in encoder.attribute:
        if a.name.startswith(("cats_", "keys_")) and (a.strings or a.ints):
            return [s.decode("utf-8", "replace") for s in a.strings] or list(a.ints)
    return []


def keep_only(model: Model, tensors: Collection[str]) -> bool:
    """Cut the model down to the operators, inputs and functions that `tensors` depend on, and fetch these.

    True where something was cut, so that the content is no longer that of the file.
    """
    graph = model.graph
    needed = _needed(graph, tensors)
    cut = _drop(graph.node, lambda n: any(o in needed for o in n.output))
    cut |= _drop(graph.input, lambda i: i.name in needed)
    cut |= _drop(graph.initializer, lambda t: t.name in needed)
    cut |= _drop(graph.sparse_initializer, lambda t: t.values.name in needed)
    cut |= _drop(graph.output, lambda o: o.name in tensors)
    for tensor in set(tensors) - {o.name for o in graph.output}:
        graph.output.add(name=tensor)  # its type and shape are inferred
        cut = True
    used = _called(model)
    return _drop(model.functions, lambda f: (f.domain, f.name) in used) or cut


def changed_by(graph: Graph, inputs: Collection[str]) -> set[str]:
    """The inputs and all tensors that are made of them."""
    readers: dict[str, list[Node]] = {}
    for node in graph.node:
        for name in _reads(node):
            readers.setdefault(name, []).append(node)
    todo = list(inputs)
    changed = set(todo)
    while todo:
        # each tensor once; a file need not have its operators in order
        made = {o for node in readers.get(todo.pop(), ()) for o in node.output}
        todo += made - changed
        changed |= made
    return changed


def graphs_in(node: Node) -> Iterator[Graph]:
    """The graphs that an operator holds: bodies of loops, branches."""
    for a in node.attribute:
        if a.HasField("g"):
            yield a.g
        yield from a.graphs


def _needed(graph: Graph, tensors: Collection[str]) -> set[str]:
    maker = {o: n for n in graph.node for o in n.output if o}
    needed: set[str] = set()
    todo = list(tensors)
    while todo:
        name = todo.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in maker:
            todo += _reads(maker[name])
    return needed


def _reads(node: Node) -> Iterator[str]:
    """Names that a node reads, with all that its inner graphs mention: they see the names around them."""
    todo = [node]
    while todo:
        one = todo.pop()
        yield from one.input
        for inner in graphs_in(one):
            yield from (o.name for o in inner.output)
            todo += inner.node


def _called(model: Model) -> set[tuple[str, str]]:
    functions = {(f.domain, f.name): f for f in model.functions}
    used: set[tuple[str, str]] = set()
    todo = list(model.graph.node)
    while todo:
        node = todo.pop()
        key = (node.domain, node.op_type)
        if key in functions and key not in used:
            used.add(key)
            todo += functions[key].node
        for inner in graphs_in(node):
            todo += inner.node
    return used


def _drop(field: Any, keep: Callable[[Any], bool]) -> bool:
    """Delete what is not to be kept from a repeated field; True where there was such."""
    gone = [i for i, value in enumerate(field) if not keep(value)]
    for i in reversed(gone):
        del field[i]
    return bool(gone)
