"""Reading attributes and children of PMML elements; what is not as the standard says is refused by name."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnprovenModelError

PREDICATES = frozenset({"True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate"})
EXPRESSIONS = frozenset({
    "Constant", "FieldRef", "NormContinuous", "NormDiscrete", "Discretize", "MapValues", "TextIndex", "Apply",
})  # fmt: skip
_MAX_CELLS = 4_000_000
"""Of a matrix that is written shorter than it is."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def refusal(reason: str) -> UnprovenModelError:
    """The error for a document that may be good PMML, but cannot be shown to be scored right."""
    return UnprovenModelError(reason)


def refuse(reason: str) -> NoReturn:
    """Raise `refusal(reason)`."""
    raise refusal(reason)


def describe(element: ET.Element) -> str:
    """The element's tag with what tells it from its siblings, for messages."""
    for key in ("name", "field", "id", "function", "functionName"):
        if key in element.attrib:
            return f"{element.tag} {element.get(key)!r}"
    return element.tag


def number(element: ET.Element, name: str, default: float | None = None) -> float:
    """A finite numeric attribute; `default` where it is absent, refused where there is none."""
    text = element.get(name)
    if text is None:
        if default is None:
            refuse(f"{describe(element)} lacks {name}")
        return default
    value = to_number(text)
    if not math.isfinite(value):
        refuse(f"{describe(element)} has {name}={text!r}, which is no finite number")
    return value


def to_number(text: str | None) -> float:
    """The number that a text says, NaN where it says none. Java's writing of numbers is Python's."""
    try:
        return float(text) if text is not None and "_" not in text else math.nan
    except ValueError:
        return math.nan


def whole(element: ET.Element, name: str, default: int | None = None) -> int:
    """A whole-number attribute."""
    value = number(element, name, default)
    if value != int(value):
        refuse(f"{describe(element)} has {name}={element.get(name)!r}, which is not a whole number")
    return int(value)


def choice(element: ET.Element, name: str, known: Sequence[str], default: str | None = None) -> str:
    """An attribute that is one of `known`; any other value is refused by name."""
    value = element.get(name, default)
    if value is None:
        refuse(f"{describe(element)} lacks {name}")
    if value not in known:
        refuse(f"{name}={value!r} of {describe(element)} is not known; known are {', '.join(known)}")
    return value


def flag(element: ET.Element, name: str, default: bool) -> bool:
    value = element.get(name)
    if value is None:
        return default
    if value not in ("true", "false", "1", "0"):
        refuse(f"{describe(element)} has {name}={value!r}, which is neither true nor false")
    return value in ("true", "1")


def text_of(element: ET.Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        refuse(f"{describe(element)} lacks {name}")
    return value


def children(element: ET.Element, tags: frozenset[str] | set[str]) -> list[ET.Element]:
    return [e for e in element if e.tag in tags]


def one_of(element: ET.Element, tags: frozenset[str], what: str) -> ET.Element:
    """The one child among `tags`."""
    found = children(element, tags)
    if len(found) != 1:
        refuse(f"{describe(element)} has {len(found)} {what}s where one belongs")
    return found[0]


def predicate_of(element: ET.Element) -> ET.Element:
    return one_of(element, PREDICATES, "predicate")


def expression_of(element: ET.Element) -> ET.Element:
    return one_of(element, EXPRESSIONS, "expression")


def required(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    if found is None:
        refuse(f"{describe(element)} has no {path}")
    return found


def array_values(element: ET.Element) -> list[str]:
    """The values of an Array: separated by blanks, in quotes where they hold some, `\\"` a quote inside."""
    text = element.text or ""
    if '"' not in text:
        values = text.split()
    else:
        values = [
            m[2] if m[1] is None else m[1].replace('\\"', '"').replace("\\\\", "\\")
            for m in _QUOTED.finditer(text)
        ]
    if element.get("n") is not None and whole(element, "n") != len(values):
        refuse(f"an Array says n={element.get('n')} and holds {len(values)} values")
    return values


def array_numbers(element: ET.Element) -> NDArray[np.float64]:
    values = np.array([to_number(v) for v in array_values(element)], np.float64)
    if not np.isfinite(values).all():
        refuse("an Array of numbers holds what is no finite number")
    return values


def sparse_numbers(element: ET.Element, size: int) -> NDArray[np.float64]:
    """A REAL-SparseArray or INT-SparseArray of `size` numbers; indices count from 1."""
    kind = element.tag.partition("-")[0]
    out = np.full(size, number(element, "defaultValue", 0.0))
    if element.get("n") is not None and whole(element, "n") != size:
        refuse(f"a sparse array says n={element.get('n')} where {size} numbers belong")
    places = [int(to_index(v)) for v in (element.findtext("Indices") or "").split()]
    values = [to_number(v) for v in (element.findtext(f"{kind}-Entries") or "").split()]
    if len(places) != len(values) or len(set(places)) != len(places):
        refuse("the indices and entries of a sparse array do not fit")
    if places and not (min(places) >= 1 and max(places) <= size):
        refuse("an index of a sparse array is out of its range")
    if not all(map(math.isfinite, values)):
        refuse("a sparse array holds what is no finite number")
    out[[p - 1 for p in places]] = values
    return out


def matrix_numbers(element: ET.Element) -> NDArray[np.float64]:
    """A Matrix, `(rows, columns)`, as in General Structure of PMML 4.4: written as rows or as cells, whose
    indices count from 1; of a symmetric one the lower left triangle; of a diagonal one the diagonal."""
    kind = choice(element, "kind", ("any", "diagonal", "symmetric"), "any")
    rows = [array_numbers(row) for row in element.findall("Array")]
    cells = element.findall("MatCell")
    if (rows and cells) or (kind != "any" and not rows):
        refuse("a Matrix is written as rows and cells, or not by the rows that its kind asks for")
    if kind == "diagonal":
        out = _diagonal(element, rows)
    elif not rows:
        out = _cells(element, cells)
    elif "diagDefault" in element.attrib or "offDiagDefault" in element.attrib:
        refuse("a Matrix has default values beside its rows")
    elif kind == "symmetric":
        out = _symmetric(rows)
    elif len({len(row) for row in rows}) > 1:
        refuse("a Matrix has rows of different lengths")
    else:
        out = np.array(rows)
    said = (whole(element, "nbRows", out.shape[0]), whole(element, "nbCols", out.shape[1]))
    if said != out.shape:
        refuse(f"a Matrix says that it is {said[0]} x {said[1]} and is {out.shape[0]} x {out.shape[1]}")
    return out


def _diagonal(element: ET.Element, rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    if len(rows) != 1 or "diagDefault" in element.attrib:
        refuse("a diagonal Matrix is not one row of all numbers of its diagonal")
    out = _filled(len(rows[0]), len(rows[0]), number(element, "offDiagDefault", 0.0))
    np.fill_diagonal(out, rows[0])
    return out


def _symmetric(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    if any(len(row) != k for k, row in enumerate(rows, 1)):
        refuse("a symmetric Matrix is not a triangle of rows, each with one number more than that before")
    out = _filled(len(rows), len(rows), 0.0)
    for k, row in enumerate(rows):
        out[k, : k + 1] = out[: k + 1, k] = row
    return out


def _cells(element: ET.Element, cells: list[ET.Element]) -> NDArray[np.float64]:
    """Where a cell is left out, the default value of the diagonal, or of what is beside it."""
    places = [(whole(cell, "row"), whole(cell, "col")) for cell in cells]
    least = min(map(min, places), default=0)
    size = tuple(max((p[k] for p in places), default=0) for k in (0, 1))
    if "diagDefault" in element.attrib or "offDiagDefault" in element.attrib:
        size = (max(size[0], whole(element, "nbRows")), max(size[1], whole(element, "nbCols")))
        out = _filled(*size, number(element, "offDiagDefault", np.nan))
        np.fill_diagonal(out, number(element, "diagDefault", np.nan))
    elif size[0] * size[1] != len(places):
        # As many cells as the largest indices ask for: a cell far away does not take memory.
        refuse("a Matrix has not one cell for each row and column")
    else:
        out = np.full(size, np.nan)
    if len(set(places)) < len(places) or least < 1:
        refuse("a Matrix has two cells in one place, or one before the first row or column")
    for place, cell in zip(places, cells, strict=True):
        value = to_number(cell.text)
        if not math.isfinite(value):
            refuse("a cell of a Matrix holds no finite number")
        out[place[0] - 1, place[1] - 1] = value
    if np.isnan(out).any():
        refuse("a Matrix has neither a cell nor a default value for some place")
    return out


def _filled(rows: int, columns: int, value: float) -> NDArray[np.float64]:
    if rows * columns > _MAX_CELLS:
        refuse(f"a Matrix of {rows} x {columns} is larger than {_MAX_CELLS} numbers")
    return np.full((rows, columns), value)


def to_index(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        refuse(f"{text!r} is no index")


def table_rows(table: ET.Element) -> Iterator[dict[str, str]]:
    """The rows of an InlineTable: local name of a cell -> its text."""
    for row in table.findall("row"):
        cells: dict[str, str] = {}
        for cell in row:
            if cell.tag == "Extension":
                continue
            name = local(cell.tag)
            if name in cells:
                refuse(f"a row of a table has two cells {name!r}")
            if len(cell):
                refuse(f"the cell {name!r} of a table holds elements")
            cells[name] = cell.text or ""
        yield cells


def local(name: str) -> str:
    return name.rpartition(":")[2]
