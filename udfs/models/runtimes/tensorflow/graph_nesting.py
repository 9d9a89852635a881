"""Lists, maps and optional values that hold each other.

TensorFlow gives back what such a value holds by recursion: where a loop puts one into the next as often as a
record says, some 100,000 of them end the process. Models that users have hold ragged tensors in lists, which
hold no further ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import input_type, node_of

VARIANT = 21  # DT_VARIANT
_HOLDS: Mapping[str, int] = {
    "RaggedTensorToVariant": -1,
    "TensorListFromTensor": 0,
    "TensorListPushBack": 1,
    "TensorListPushBackBatch": 1,
    "TensorListScatter": 0,
    "TensorListScatterIntoExistingList": 1,
    "TensorListScatterV2": 0,
    "TensorListSetItem": 2,
    "TensorListSplit": 0,
    "TensorMapInsert": 2,
}
"""Which input of an operator it puts into what it gives."""
_OPTIONAL = "OptionalFromValue"  # it puts all of them
_MOST_COPIES = 20


def nests(node: Any, scope: Mapping[str, Any]) -> bool:
    """Whether an operator may put a list, map or optional into another. `scope`: the nodes beside it."""
    if node.op != _OPTIONAL and node.op not in _HOLDS:
        return False
    data = [i for i in node.input if not i.startswith("^")]
    held = range(len(data))
    if node.op != _OPTIONAL:
        at = _HOLDS[node.op]
        held = held[at:][:1]
    return any(input_type(node, at) == VARIANT and not _is_ragged(data[at], scope) for at in held)


def _is_ragged(reference: str, scope: Mapping[str, Any]) -> bool:
    for _ in range(_MOST_COPIES):
        node = scope.get(node_of(reference))
        if node is None or node.op != "Identity" or not node.input:
            break
        reference = node.input[0]
    return node is not None and node.op == "RaggedTensorToVariant"
