"""What a fitted model of scikit-learn knows of its columns, found in the arrays that it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.boosted_trees import lightgbm_columns, xgboost_columns
from millrace.conversion_check import Column


def known_columns(model: Any, width: int) -> list[Column]:
    """Of each of its `width` columns: thresholds, centres, categories, rows that were kept.

    Values of inner steps count for the columns of the same number, which is of no harm: they are tried too.
    """
    columns = [Column() for _ in range(width)]
    for part in _parts(model):
        if isinstance(part, np.ndarray):
            _add_array(columns, part)
        elif isinstance(part, list | tuple):
            _add_lists(columns, list(part))
        elif (booster := getattr(part, "booster_", None)) is not None:
            _add_columns(columns, lightgbm_columns(booster.dump_model()))
        elif hasattr(part, "get_booster") and part.__sklearn_is_fitted__():
            _add_columns(columns, xgboost_columns(part.get_booster()))
        elif _is_tree(part):
            for i, value in zip(part.feature, part.threshold, strict=True):
                if 0 <= i < width:
                    columns[i].add(value)
        else:
            _add_scaler(columns, getattr(part, "__dict__", {}))
    return columns


def made_for_missing(model: Any) -> bool:
    """Whether missing values mean something to it.

    Trees take them always. Those that saw none in training send them where most rows went.
    """
    parts = list(_parts(model))
    trees = [part for part in parts if _is_tree(part)]
    filled = any("Imputer" in type(part).__name__ for part in parts)
    return filled or not trees or not all(_saw_none_missing(tree) for tree in trees)


def _saw_none_missing(tree: Any) -> bool:
    split = tree.children_left >= 0
    rows, to_left = tree.n_node_samples, getattr(tree, "missing_go_to_left", None)
    if to_left is None:
        return True
    most = rows[tree.children_left[split]] > rows[tree.children_right[split]]
    return bool((np.asarray(to_left)[split] == most).all())


def _is_tree(part: Any) -> bool:
    return hasattr(part, "threshold") and hasattr(part, "children_left")


def _parts(model: Any) -> Iterator[Any]:
    """The model and all that it holds, but for texts and single numbers."""
    seen: dict[int, Any] = {}
    left = [model]
    while left:
        part = left.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type(None)):
            continue
        seen[id(part)] = part  # held, so that the number is not given to another
        yield part
        if isinstance(part, dict):
            left.extend(part.values())
        elif isinstance(part, list | tuple) or (isinstance(part, np.ndarray) and part.dtype == object):
            left.extend(part.ravel() if isinstance(part, np.ndarray) else part)
        elif not isinstance(part, np.ndarray) and not _is_tree(part):
            left.extend(getattr(part, "__dict__", {}).values())


def _add_columns(columns: list[Column], known: list[Column]) -> None:
    for column, more in zip(columns, known, strict=False):
        column.add(more.values)


def _add_array(columns: list[Column], values: NDArray[Any]) -> None:
    if values.dtype.names:
        _add_nodes(columns, values)
    elif values.dtype == object:
        _add_lists(columns, list(values.ravel()))
    elif values.dtype.kind in "fiu" and values.ndim and values.shape[-1] == len(columns):
        for column, of_column in zip(columns, values.reshape(-1, len(columns)).T, strict=True):
            column.add(of_column)


def _add_nodes(columns: list[Column], nodes: NDArray[Any]) -> None:
    """The nodes of a tree of HistGradientBoosting."""
    if not {"feature_idx", "num_threshold", "is_leaf"} <= set(nodes.dtype.names or ()):
        return
    for node in nodes[nodes["is_leaf"] == 0]:
        if node["feature_idx"] < len(columns):
            columns[node["feature_idx"]].add(node["num_threshold"])


def _add_lists(columns: list[Column], items: list[Any]) -> None:
    """A list of one array a column: categories, edges of bins."""
    if len(items) == len(columns) and all(
        isinstance(i, np.ndarray) and i.ndim == 1 and i.dtype.kind in "fiu" for i in items
    ):
        for column, values in zip(columns, items, strict=True):
            column.add(values)
            column.listed = values.tolist()


def _add_scaler(columns: list[Column], inside: dict[str, Any]) -> None:
    """Three deviations around the centre."""
    centre, scale = (_first(inside, *names) for names in (("mean_", "center_"), ("scale_",)))
    if np.shape(centre) == np.shape(scale) == (len(columns),):
        for column, c, s in zip(columns, np.asarray(centre), np.asarray(scale), strict=True):
            column.add(c + s * np.linspace(-3, 3, 13))


def _first(inside: dict[str, Any], *names: str) -> Any:
    return next((inside[name] for name in names if inside.get(name) is not None), None)
