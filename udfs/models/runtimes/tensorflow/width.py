"""How many numbers a record gives a tensor of unknown width, by the weights that it meets."""

from __future__ import annotations

from typing import Any

MULTIPLIES = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2"})
PASSES_ON = frozenset(
    {"Add", "AddV2", "BiasAdd", "Cast", "Div", "Identity", "Mul", "RealDiv", "Sub", "Relu", "Sigmoid", "Tanh"}
)
_STEPS = 64


def width_of(tensor: Any) -> int | None:
    """The width by the first matrix that the tensor is multiplied with, through what keeps its width.

    A vector that it is added to or scaled by does not tell: one number a record fits any vector. None where
    there is no such matrix.
    """
    todo, seen = [tensor], 0
    while todo and seen < _STEPS:
        here = todo.pop(0)
        seen += 1
        for consumer in here.consumers():
            if consumer.type in MULTIPLIES and consumer.inputs[0] is here:
                if width := _rows(consumer):
                    return width
            elif consumer.type in PASSES_ON and consumer.outputs:
                todo.append(consumer.outputs[0])
    return None


def _rows(multiplication: Any) -> int | None:
    other = multiplication.inputs[1]
    if other.shape.rank != 2:
        return None
    attrs = multiplication.node_def.attr
    turned = any(attrs[a].b for a in ("transpose_b", "adj_y") if a in attrs)
    return other.shape.as_list()[1 if turned else 0]
