"""How deep the trees of an ensemble are.

ONNX Runtime follows a tree by recursion while it loads it, at some 600 bytes of stack a level: a chain that
is long enough ends the process, one of 1,000 where a thread has 512 KB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnsafeModelError
from schemas.onnx_model_pb2 import Node

MAX_DEPTH = 500
_FACTOR = np.int64(1) << 31


def check_trees(node: Node, said: str) -> None:
    """Raise `UnsafeModelError` where a tree is deeper than `MAX_DEPTH`, or runs in a circle.

    `node` is a TreeEnsemble, TreeEnsembleRegressor or TreeEnsembleClassifier.
    """
    given = {a.name: np.array(a.ints, np.int64) for a in node.attribute if a.ints}
    left, right = given.get("nodes_truenodeids"), given.get("nodes_falsenodeids")
    if left is None or right is None or len(left) != len(right):
        return  # no trees, or such as the runtime refuses
    if node.op_type == "TreeEnsemble":
        kinds = [(left, given.get("nodes_trueleafs")), (right, given.get("nodes_falseleafs"))]
        edges = [
            np.where(leafs == 0, ids, -1)
            for ids, leafs in kinds
            if leafs is not None and len(leafs) == len(ids)
        ]
    else:
        edges = _by_number(node, given, left, right, said)
    deep = len(edges) == 2 and _deeper(np.stack(edges))
    if deep:
        raise UnsafeModelError(f"operator {said} has a tree deeper than {MAX_DEPTH}: prune it, export again")


def _by_number(
    node: Node, given: dict[str, NDArray], left: NDArray, right: NDArray, said: str
) -> list[NDArray]:
    """The position of each node's children, -1 for none; nodes are named by tree and number."""
    trees, numbers = given.get("nodes_treeids"), given.get("nodes_nodeids")
    modes = next((list(a.strings) for a in node.attribute if a.name == "nodes_modes"), [])
    if trees is None or numbers is None or not len(trees) == len(numbers) == len(left) == len(modes):
        return []
    if any(((ids < 0) | (ids >= _FACTOR)).any() for ids in (trees, numbers)):
        raise UnsafeModelError(f"operator {said} has trees or nodes whose numbers are beyond 31 bits")
    leaf = np.array([m == b"LEAF" for m in modes])
    keys = trees * _FACTOR + numbers
    order = np.argsort(keys, kind="stable")
    found = []
    for children in (left, right):
        wanted = trees * _FACTOR + children
        at = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        there = keys[order[at]] == wanted
        found.append(np.where(there & ~leaf, order[at], -1))
    return found


def _deeper(children: NDArray) -> bool:
    """Follow all trees from all nodes that are nobody's child, level by level."""
    count = children.shape[1]
    inside = (children >= 0) & (children < count)
    inner = inside.any(axis=0)
    if not inner.any():
        return False
    roots = np.ones(count, bool)
    roots[children[inside]] = False
    level = np.flatnonzero(roots)
    if not len(level):  # all are somebody's child: a circle
        return True
    for _ in range(MAX_DEPTH):
        below = children[:, level]
        level = np.unique(below[inside[:, level]])
        if not len(level):
            return False
    return True
