"""The inputs of a signature, with those that lie in several tensors put together again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.errors import InputsError
from udfs.models.runtimes.tensorflow.binding import Declared

_RAGGED, _SPARSE = "RaggedTensorSpec", "SparseTensorSpec"


def declared_inputs(meta: Any, signature: Any) -> list[Declared]:
    """The inputs by name. Raises `InputsError` for kinds of tensors that lists in records do not make.

    A signature of TensorFlow 2 takes a ragged or sparse input apart and calls the parts `x`, `x_1`, `x_2`;
    what they were is told by the function it was made of, where the SavedModel still has it.
    """
    found = {name: _declared(name, info) for name, info in signature.inputs.items()}
    plain = {name for name, d in found.items() if len(d.parts) == 1}
    for names, width in _composites(meta, plain):
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
        shape, rank = _spec(spec)
        if spec.type_spec_class_name == _RAGGED and len(parts) == 2 and rank == 1:
            return Declared(name, parts)
        if spec.type_spec_class_name == _SPARSE and len(parts) == 3:
            return Declared(name, parts, _width(shape, name))
    raise InputsError(
        f"input {name!r} is a tensor in parts that no list of numbers or texts makes: export it as a "
        "dense one, "
        "or as ragged with one ragged dimension"
    )


def _composites(meta: Any, plain: set[str]) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """The names of inputs that are the parts of one, and of sparse ones the number of columns."""
    graph = meta.object_graph_def
    for node in graph.nodes:
        if node.WhichOneof("kind") != "bare_concrete_function":
            continue
        function = node.bare_concrete_function
        names = list(function.argument_keywords)
        if set(names) != plain or function.concrete_function_name not in graph.concrete_functions:
            continue
        spec = graph.concrete_functions[function.concrete_function_name].canonicalized_input_signature
        leaves = list(_leaves(spec))
        if sum(count for count, _ in leaves) != len(names) or all(count == 1 for count, _ in leaves):
            continue
        at = 0
        for count, leaf in leaves:
            here, at = tuple(names[at : at + count]), at + count
            if count == 1:
                continue
            shape, rank = _spec(leaf)
            if leaf.type_spec_class_name == _RAGGED and count == 2 and rank == 1:
                yield here, None
            elif leaf.type_spec_class_name == _SPARSE and count == 3:
                yield here, _width(shape, here[0])
        return


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
