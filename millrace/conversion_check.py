"""Whether a converted model answers as its library does, by made-up rows around the values that it knows.

A row has one double a column. The library gets the doubles and ONNX the same as float32, as jobs give them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LoadError

REMEDY = "Export PMML with `sklearn2pmml` and publish that, or train with another objective or kind of model"
ROWS = 500
RELATIVE = 1e-4
"""Of the value: what sums of float32 differ by, with room."""
SMALL = 1e-5
"""Of the middle of all values, for those that are near zero."""
MOST_ROUNDED = 0.02
"""Share of rows where the next float32 of a column gives what ONNX gives."""
_LOOKED_AT = 20
_MOST_KNOWN = 2000


@dataclass(slots=True)
class Column:
    """The values of a column that a model knows: thresholds, centres, categories.

    `whole`: they are categories, and drawn as they are. `listed`: the only ones that may be taken.
    """

    values: list[float] = field(default_factory=list)
    whole: bool = False
    listed: list[float] = field(default_factory=list)

    def add(self, values: Any) -> None:
        """A value, or an array of any shape; what is no finite number is left out."""
        found = np.asarray(values, "d").ravel()
        self.values.extend(found[np.isfinite(found)][:_MOST_KNOWN].tolist())


@dataclass(frozen=True, slots=True)
class Convertible:
    """A model of a library.

    `answers` gives for rows of shape `(n, columns)` what each of its methods answers, by name, `(n,)` or
    `(n, k)`. `classes`: the names of the k columns, where ONNX answers by name. `missing`: it was made for
    missing values (NaN), which are tried if it takes them.
    """

    what: str
    answers: Callable[[NDArray[Any]], dict[str, NDArray[Any]]]
    columns: Sequence[Column]
    classes: NDArray[Any] | None = None
    missing: bool = True


def compare(model: Convertible, made: bytes) -> None:
    """Raise `LoadError` where ONNX Runtime does not answer as the library, or they cannot be compared."""
    import onnxruntime  # noqa: PLC0415

    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
        rows, expected = _answered(model)
        name = session.get_inputs()[0].name
        with np.errstate(over="ignore"):
            outputs = session.run(None, {name: rows.astype("f")})
    # Library and runtime raise whatever they have: none of it may reach the user as it is
    except Exception as e:
        said = " ".join(str(e).split())[:200]
        raise LoadError(f"{model.what} cannot be compared with what it was converted to: {said}") from e
    for output, got in zip(session.get_outputs(), outputs, strict=True):
        _judge(model, output.name, got, rows, expected)


def _answered(model: Convertible) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Rows and the library's answers: with missing values if it takes them, else only what it knows."""
    for missing, known in ((model.missing, False), (False, False), (False, True)):
        rows = made_up(model.columns, missing=missing, known=known)
        try:
            with np.errstate(all="ignore"):
                return rows, model.answers(rows)
        except ValueError:
            if known:
                raise
    raise AssertionError


def made_up(columns: Sequence[Column], *, missing: bool, known: bool = False) -> NDArray[Any]:
    """Rows of shape `(ROWS, columns)`, the same at every call. `known`: only values that the model knows."""
    rng = np.random.default_rng(13)
    rows = np.empty((ROWS, len(columns)))
    for i, column in enumerate(columns):
        rows[:, i] = _drawn(rng, column, known)
    if not known:
        far = rng.random(rows.shape) < np.where(np.arange(ROWS) % 12 == 0, 0.5, 0)[:, None]
        rows[far & ~np.array([c.whole for c in columns])] *= 100
    if missing:
        rows[rng.random(rows.shape) < np.where(np.arange(ROWS) % 4 == 1, 0.3, 0)[:, None]] = np.nan
    return rows


def _drawn(rng: np.random.Generator, column: Column, known: bool) -> NDArray[Any]:
    values = np.unique(column.values) if column.values else np.array([-1.0, 0.0, 1.0])
    picked = rng.choice(values, ROWS)
    if known:
        return rng.choice(column.listed or values, ROWS)
    if column.whole:
        return np.where(rng.random(ROWS) < 0.1, values.max() + 1, np.abs(picked))
    width = np.ptp(values) or abs(values[0]) or 1.0
    step = np.median(np.diff(values)) if len(values) > 1 else width
    near = picked + step * rng.normal(size=ROWS)
    wide = rng.uniform(values[0] - width / 2, values[-1] + width / 2, ROWS)
    kind = rng.choice(4, ROWS, p=[0.55, 0.25, 0.1, 0.1])
    drawn = np.choose(kind, [near, wide, np.rint(near), np.zeros(ROWS)])
    return np.asarray(np.abs(drawn) if values[0] >= 0 else drawn)


def _judge(
    model: Convertible,
    name: str,
    got: Any,
    rows: NDArray[Any],
    expected: dict[str, NDArray[Any]],
) -> None:
    """One output against that answer of the library which it is nearest to."""
    table = _table(got, model.classes)
    same_shape = {k: _flat(v) for k, v in expected.items() if _flat(v).shape == table.shape}
    if not same_shape:
        answers = ", ".join(f"{k} {np.shape(v)[1:]}" for k, v in expected.items())
        raise LoadError(
            f"{model.what} is converted wrong: the output {name} has {table.shape[1]} values a row, the "
            f"library answers {answers}. {REMEDY}"
        )
    off = {k: _differs(table, v) for k, v in same_shape.items()}
    method = min(off, key=lambda k: off[k].any(1).sum())
    want, wrong = same_shape[method], np.flatnonzero(off[method].any(1))
    if not len(wrong):
        return
    if want.dtype.kind not in "fc":
        wrong = np.array([i for i in wrong if not _tied(expected, i)], int)
    apart = _apart(table, want)
    wrong = wrong[np.argsort(-apart.max(1)[wrong], kind="stable")]
    unexplained = [i for i in wrong[:_LOOKED_AT] if not _rounded(model, method, rows[i], table[i])]
    if not unexplained and len(wrong) <= MOST_ROUNDED * len(rows):
        return
    worst = (unexplained or wrong)[0]
    column = int(np.argmax(apart[worst]))
    values = (
        f"differs from the library in {len(wrong)} of {len(rows)} made-up rows, most for "
        f"{_shown(rows[worst])}: {name} is {_number(table[worst, column])}, {method} "
        f"{_number(want[worst, column])}"
    )
    if unexplained and not _crowded(model.columns):
        raise LoadError(f"{model.what} is converted wrong: it {values}. {REMEDY}")
    raise LoadError(
        f"{model.what} needs more digits than float32 has, which the converted model reads: it {values}. "
        "Subtract a constant from the large columns, before training and in records; or export PMML with "
        "`sklearn2pmml`"
    )


def _table(got: Any, classes: NDArray[Any] | None) -> NDArray[Any]:
    """An output as `(n, k)`; a map of classes by their order."""
    if isinstance(got, list) and got and isinstance(got[0], dict):
        names = sorted(got[0]) if classes is None else classes.tolist()
        return np.array([[row[name] for name in names] for row in got])
    if isinstance(got, list) and got and isinstance(got[0], np.ndarray):
        return np.concatenate(got, 1)
    return _flat(np.asarray(got))


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)


def _numbers(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "fiub"


def _apart(got: NDArray[Any], want: NDArray[Any]) -> NDArray[Any]:
    """How far, by the size of what is wanted; 1 for texts that differ. Beyond float32 is infinite."""
    if not (_numbers(got) and _numbers(want)):
        return np.asarray(got.astype(str) != want.astype(str), "d")
    with np.errstate(all="ignore"):
        a, b = got.astype("d"), want.astype("f").astype("d")
        away = np.abs(a - b) / np.maximum(np.abs(b), SMALL)
    both = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(both, 0, np.nan_to_num(away, nan=np.inf))


def _differs(got: NDArray[Any], want: NDArray[Any]) -> NDArray[Any]:
    away = _apart(got, want)
    if want.dtype.kind not in "fc" or not _numbers(got):
        return np.asarray(away > 0)
    size = np.abs(want[np.isfinite(want)])
    middle = float(np.median(size)) if size.size else 0.0
    with np.errstate(all="ignore"):
        gap = np.abs(got.astype("d") - want.astype("d"))
        return np.asarray((away > RELATIVE) & ~(gap <= RELATIVE * np.abs(want) + SMALL * middle))


def _tied(expected: dict[str, NDArray[Any]], row: int) -> bool:
    """Whether two classes score the same, so that the last digit decides between them."""
    for scores in expected.values():
        if scores.dtype.kind == "f" and scores.ndim == 2 and scores.shape[1] > 1:
            best = np.sort(scores[row])[-2:]
            if best[1] - best[0] <= RELATIVE * max(abs(best[1]), SMALL):
                return True
    return False


def _rounded(model: Convertible, method: str, row: NDArray[Any], got: NDArray[Any]) -> bool:
    """Whether the library answers as ONNX, or around it, for the next numbers that float32 has."""
    with np.errstate(all="ignore"):
        near = np.array([row, *_neighbours(row)])
        want = _flat(model.answers(near)[method])
    if not (_numbers(want) and _numbers(got)):
        return any((got.astype(str) == one.astype(str)).all() for one in want)
    room = RELATIVE * np.abs(want).max(0) + 1e-12
    return bool(((got >= want.min(0) - room) & (got <= want.max(0) + room)).all())


def _crowded(columns: Sequence[Column]) -> bool:
    """Whether a column's values are fewer once they are float32."""
    known = [np.unique(column.values) for column in columns]
    return any(len(np.unique(values.astype("f"))) < 0.9 * len(values) for values in known)


def _neighbours(row: NDArray[Any]) -> Iterator[NDArray[Any]]:
    single = row.astype("f")
    sides = [np.nextafter(single, np.float32(end)).astype("d") for end in (-np.inf, np.inf)]
    yield from sides
    for side in sides:
        for i in range(len(row)):
            yield np.where(np.arange(len(row)) == i, side, row)


def _number(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float | np.floating) else str(value)


def _shown(row: NDArray[Any]) -> str:
    shown = ", ".join(_precise(value) for value in row[:6])
    return f"[{shown}, ..]" if len(row) > 6 else f"[{shown}]"


def _precise(value: float) -> str:
    return f"{value:.12g}" if abs(value) > 1e5 else f"{value:.6g}"
