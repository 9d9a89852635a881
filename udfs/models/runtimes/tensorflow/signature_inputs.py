"""The inputs of a signature, with those that lie in several tensors put together again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.errors import InputsError
from udfs.models.runtimes.tensorflow.binding import Declared
from udfs.models.runtimes.tensorflow.graph_walk import INT, LONG, node_of

_INDEXES = frozenset({INT, LONG})
_WRAPPER = "signature_wrapper"  # what TensorFlow puts around a function that is exported
_IN_PARTS = (
    "input {!r} is a tensor in parts that no list of numbers or texts makes: export it as a dense one, or as "
    "ragged with one ragged dimension"
)
_RAGGED, _SPARSE = "RaggedTensorSpec", "SparseTensorSpec"


def declared_inputs(meta: Any, signature: Any) -> list[Declared]:
    """The inputs by name. Raises `InputsError` for kinds of tensors that lists in records do not make.

    A signature of TensorFlow 2 takes a ragged or sparse input apart and calls the parts `x`, `x_1`, `x_2`;
    what they were is told by the function it was made of, where the SavedModel still has it.
    """
    found = {name: _declared(name, info) for name, info in signature.inputs.items()}
    plain = {name for name, d in found.items() if len(d.parts) == 1}
    for names, width in _composites(meta, signature, plain):
        parts = tuple(found.pop(n).parts[0] for n in names)
        found[names[0]] = Declared(names[0], parts, width)
    return [found[name] for name in sorted(found)]


def _declared(name: str, info: Any) -> Declared:
    if info.name:
        return Declared(name, (info.name,))
    kind = info.WhichOneof("encoding")
    if kind == "coo_sparse":
        sparse = info.coo_sparse
        parts = (sparse.indices_tensor_name, sparse.values_tensor_name, sparse.dense_shape_tensor_name)
        return Declared(name, parts, _width([d.size for d in info.tensor_shape.dim], name))
    if kind == "composite_tensor":
        spec = info.composite_tensor.type_spec
        parts = tuple(c.name for c in info.composite_tensor.components)
        if (spec.type_spec_class_name, len(parts)) in ((_RAGGED, 2), (_SPARSE, 3)):
            return Declared(name, parts, _together((name,), spec)[1])
    raise InputsError(_IN_PARTS.format(name))


def _composites(meta: Any, signature: Any, plain: set[str]) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """The names of inputs that are the parts of one, and of sparse ones the number of columns.

    Functions of other signatures may have arguments of the same names: asked is the one that is called.
    """
    graph = meta.object_graph_def
    found = []
    for node in graph.nodes:
        function = node.bare_concrete_function
        called = function.concrete_function_name
        if set(function.argument_keywords) != plain or called not in graph.concrete_functions:
            continue
        leaves = list(_leaves(graph.concrete_functions[called].canonicalized_input_signature))
        if sum(count for count, _ in leaves) == len(plain) and all(count > 0 for count, _ in leaves):
            found.append((_base(called), list(function.argument_keywords), leaves))
    bases = _called(meta, {node_of(signature.inputs[name].name) for name in plain})
    inner = [f for f in found if f[0] in bases and _WRAPPER not in f[0]]
    for _, names, leaves in inner or [f for f in found if any(count > 1 for count, _ in f[2])]:
        parts, at = [], 0
        for count, leaf in leaves:
            parts.append((tuple(names[at : at + count]), leaf))
            at += count
        if all(leaf is None or _fits(signature, here, leaf) for here, leaf in parts):
            yield from (_together(here, leaf) for here, leaf in parts if leaf is not None)
            return


def _together(names: tuple[str, ...], leaf: Any) -> tuple[tuple[str, ...], int | None]:
    shape, rank = _spec(leaf)
    if leaf.type_spec_class_name == _SPARSE:
        return names, _width(shape, names[0])
    if leaf.type_spec_class_name == _RAGGED and rank == 1:
        return names, None
    raise InputsError(_IN_PARTS.format(names[0]))


def _fits(signature: Any, names: tuple[str, ...], leaf: Any) -> bool:
    """Whether tensors may be the parts of a composite one, as TensorFlow takes it apart."""
    infos = [signature.inputs[name] for name in names]
    if leaf.type_spec_class_name == _SPARSE:
        return len(infos) == 3 and _is_index(infos[0], 2) and _is_index(infos[2], 1)
    if leaf.type_spec_class_name == _RAGGED:
        return len(infos) == _spec(leaf)[1] + 1 and all(_is_index(info, 1) for info in infos[1:])
    return True


def _is_index(info: Any, rank: int) -> bool:
    shape = info.tensor_shape
    return info.dtype in _INDEXES and (shape.unknown_rank or len(shape.dim) == rank)


def _called(meta: Any, tensors: set[str]) -> set[str]:
    """Functions, without their numbers, that are given `tensors`, and those that these call."""
    given = {
        n.attr["f"].func.name
        for n in meta.graph_def.node
        if "f" in n.attr and tensors & {node_of(i) for i in n.input}
    }
    inner = {
        n.attr["f"].func.name
        for f in meta.graph_def.library.function
        if f.signature.name in given
        for n in f.node_def
        if "f" in n.attr
    }
    return {_base(name) for name in given | inner}


def _base(name: str) -> str:
    return name.rstrip("0123456789")


def _leaves(value: Any) -> Iterator[tuple[int, Any]]:
    """How many tensors each leaf of a structure is made of, in the order in which they are passed."""
    todo = [value]
    while todo:
        value = todo.pop()
        kind = value.WhichOneof("kind")
        if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
            yield 1, None
        elif kind == "type_spec_value":
            yield value.type_spec_value.num_flat_components, value.type_spec_value
        elif kind in ("tuple_value", "list_value"):
            todo.extend(reversed(getattr(value, kind).values))
        elif kind == "dict_value":
            todo.extend(value.dict_value.fields[k] for k in sorted(value.dict_value.fields, reverse=True))
        elif kind == "named_tuple_value":
            todo.extend(pair.value for pair in reversed(value.named_tuple_value.values))


def _spec(spec: Any) -> tuple[list[int], int]:
    """Shape (-1 for any size) and number of ragged dimensions of a type spec."""
    shape, rank = [], 0
    for part in spec.type_state.tuple_value.values:
        kind = part.WhichOneof("kind")
        if kind == "tensor_shape_value":
            shape = [d.size for d in part.tensor_shape_value.dim]
        elif kind == "int64_value":
            rank = part.int64_value
    return shape, rank


def _width(shape: list[int], name: str) -> int | None:
    if len(shape) != 2:
        raise InputsError(f"input {name!r} is sparse in {len(shape)} dimensions: a list a record makes 2")
    return shape[1] if shape[1] >= 0 else None
