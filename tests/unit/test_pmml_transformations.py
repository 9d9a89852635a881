# ruff: noqa: E501, PLR0911 - documents are written in one line, of many kinds
"""Expressions of any shape give what a row-by-row reading of the standard gives (hypothesis)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.errors import PredictError
from tests.pmml_expressions import UndefinedError, evaluate, typed
from tests.unit.test_pmml_models import read

TYPES = {
    "x": "double", "y": "double", "f": "float", "n": "integer", "m": "integer", "b": "boolean", "k": "string",
    "d": "date",
}  # fmt: skip
_OPTYPES = {"boolean": "categorical", "string": "categorical", "date": "ordinal"}
_BY_TYPE = {"double": "xy", "float": "f", "integer": "nm", "boolean": "b", "string": "k", "date": "d"}
_DYADIC = st.integers(-24, 24).map(lambda v: v / 4)
_ROW = st.fixed_dictionaries({
    "x": _DYADIC, "y": _DYADIC, "f": st.sampled_from([0.1, 0.5, -1.25, 3.0, 1e-3]), "n": st.integers(-6, 6),
    "m": st.sampled_from([0, 1, 2, -3, 2**62, 2**53 + 1]), "b": st.booleans(),
    "k": st.sampled_from(["red", "Dark  Blue ", " x", "", "ε-1"]), "d": st.dates(date(1950, 1, 1), date(2050, 1, 1)),
})  # fmt: skip
_ROWS = st.lists(
    st.tuples(_ROW, st.sets(st.sampled_from(sorted(TYPES)), max_size=3)).map(
        lambda t: {n: None if n in t[1] else v for n, v in t[0].items()}
    ),
    min_size=1, max_size=5,
)  # fmt: skip
_REAL_FUNCTIONS = (
    "exp", "expm1", "ln", "ln1p", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "erf", "stdNormalCDF", "stdNormalPDF", "stdNormalIDF",
)  # fmt: skip
_COMPARE = ("equal", "notEqual", "lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual")


def field(name: str) -> str:
    return f'<FieldRef field="{name}"/>'


def constant(value: object, kind: str) -> str:
    return f'<Constant dataType="{kind}">{value}</Constant>'


def apply(name: str, *arguments: str, attributes: str = "") -> str:
    return f'<Apply function="{name}"{attributes}>{"".join(arguments)}</Apply>'


@st.composite
def exact(draw: st.DrawFn, kind: str, depth: int) -> str:
    """Numbers that come out alike to the bit: of fields, by sums, products and what looks at them."""
    names = {"double": "xy", "float": "f", "integer": "nm"}[kind]
    values = {"double": _DYADIC, "float": st.sampled_from([0.1, 0.5, 2.0]), "integer": st.integers(-4, 4)}[
        kind
    ]
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        one = draw(st.sampled_from(["field", "field", "constant", "mapped"]))
        if one == "constant":
            return constant(draw(values), kind)
        name = draw(st.sampled_from(names))
        return field(name) if one == "field" else f'<FieldRef field="{name}" mapMissingTo="{draw(values)}"/>'
    inner = exact(kind, depth - 1)
    way = draw(st.sampled_from(["binary", "rounded", "if", "aggregate", "table", "modulo"]))
    if way == "binary":
        return apply(draw(st.sampled_from("+-*")), draw(inner), draw(inner), attributes=draw(rules(kind)))
    if way == "modulo":
        return apply("modulo", draw(inner), draw(inner))
    if way == "rounded":
        return apply(draw(st.sampled_from(["abs", "floor", "ceil", "round", "rint"])), draw(inner))
    if way == "if":
        branches = draw(st.lists(inner, min_size=1, max_size=2))
        return apply("if", draw(truths(depth - 1)), *branches)
    if way == "aggregate":
        # Not of what functions make of missing values: there this runtime goes by the exporters' libraries.
        parts = st.sampled_from([*map(field, names), constant(draw(values), kind)])
        return apply(
            draw(st.sampled_from(["sum", "min", "max", "product"])),
            *draw(st.lists(parts, min_size=1, max_size=4)),
        )
    return draw(tables(kind))


@st.composite
def rules(draw: st.DrawFn, kind: str) -> str:
    """What a function says of missing values; of the type of the whole only, which the reference reads them in."""
    if draw(st.booleans()):
        return ""
    return "".join(
        f' {n}="{draw(st.integers(-3, 3))}"'
        for n in draw(st.sampled_from([(), ("mapMissingTo",), ("defaultValue",)]))
    )


@st.composite
def tables(draw: st.DrawFn, kind: str) -> str:
    value = st.integers(-3, 3)
    said = "".join(f' {n}="{draw(value)}"' for n in ("mapMissingTo", "defaultValue") if draw(st.booleans()))
    if draw(st.booleans()):
        name = draw(st.sampled_from("xyfnm"))
        cuts = sorted(draw(st.sets(st.integers(-5, 5), min_size=2, max_size=5)))
        margins = [("", cuts[0]), *pairwise(cuts), (cuts[-1], "")]
        bins = ""
        for low, high in draw(st.lists(st.sampled_from(margins), min_size=1, max_size=4)):
            closure = draw(st.sampled_from(["openOpen", "openClosed", "closedOpen", "closedClosed"]))
            left, right = f' leftMargin="{low}"' * (low != ""), f' rightMargin="{high}"' * (high != "")
            bins += f'<DiscretizeBin binValue="{draw(value)}"><Interval closure="{closure}"{left}{right}/></DiscretizeBin>'
        return f'<Discretize field="{name}" dataType="{kind}"{said}>{bins}</Discretize>'
    columns = draw(st.sampled_from(["n", "k", "b", "x", "nk", "kb"]))
    keys = {
        "n": ["0", "1", "2"],
        "k": ["red", " x", "blue"],
        "b": ["true", "false"],
        "x": ["0.25", "1", "-2"],
    }
    rows = draw(st.sets(st.tuples(*(st.sampled_from(keys[c]) for c in columns)), min_size=1, max_size=4))
    cells = "".join(
        "<row>"
        + "".join(f"<c{c}>{v}</c{c}>" for c, v in zip(columns, key, strict=True))
        + f"<o>{draw(value)}</o></row>"
        for key in sorted(rows)
    )
    pairs = "".join(f'<FieldColumnPair field="{c}" column="c{c}"/>' for c in columns)
    return f'<MapValues outputColumn="o" dataType="{kind}"{said}>{pairs}<InlineTable>{cells}</InlineTable></MapValues>'


@st.composite
def reals(draw: st.DrawFn, depth: int) -> str:
    """Doubles by any function."""
    kinds = st.sampled_from(["double", "double", "integer", "float"])
    way = draw(
        st.sampled_from(["function", "two", "quotient", "norm", "indicator", "three", "average", "exact"])
    )
    if way == "function":
        return apply(draw(st.sampled_from(_REAL_FUNCTIONS)), draw(exact("double", depth)))
    if way == "two":
        return apply(
            draw(st.sampled_from(["pow", "atan2", "hypot"])),
            draw(exact("double", depth)),
            draw(exact("double", 0)),
        )
    if way == "quotient":
        treatment = draw(st.sampled_from(["", ' invalidValueTreatment="asMissing"']))
        return apply("/", draw(exact("double", depth)), draw(exact(draw(kinds), depth)), attributes=treatment)
    if way == "three":
        return apply(
            draw(st.sampled_from(["normalCDF", "normalPDF"])),
            draw(exact("double", depth)),
            constant(0.5, "double"),
            constant(1.5, "double"),
        )
    if way == "average":
        parts = st.sampled_from([*map(field, "xynm"), constant(2, "integer")])
        return apply(draw(st.sampled_from(["avg", "median"])), *draw(st.lists(parts, min_size=1, max_size=4)))
    said = draw(st.sampled_from(["", ' mapMissingTo="0.75"']))
    if way == "indicator":
        name, value = draw(
            st.sampled_from([("k", "red"), ("n", "2"), ("b", "true"), ("x", "0.25"), ("f", "0.1")])
        )
        return f'<NormDiscrete field="{name}" value="{value}"{said}/>'
    if way == "norm":
        outliers = draw(
            st.sampled_from(
                ["", ' outliers="asIs"', ' outliers="asMissingValues"', ' outliers="asExtremeValues"']
            )
        )
        points = sorted(draw(st.sets(st.integers(-6, 6), min_size=2, max_size=5)))
        curve = "".join(f'<LinearNorm orig="{p}" norm="{draw(st.integers(-8, 8))}"/>' for p in points)
        return f'<NormContinuous field="{draw(st.sampled_from("xyfn"))}"{outliers}{said}>{curve}</NormContinuous>'
    return draw(exact("double", depth + 1))


@st.composite
def truths(draw: st.DrawFn, depth: int) -> str:
    way = draw(
        st.sampled_from(["compare", "text", "in", "missing", "field", "logic", "not", "flags", "undefined"])
    )
    if way == "undefined":
        asked = apply(draw(st.sampled_from(["ln", "sqrt"])), field(draw(st.sampled_from("xyn"))))
        return apply(draw(st.sampled_from(_COMPARE)), asked, constant(0.3, "double"))
    if way == "compare":
        kind, other = draw(
            st.sampled_from(
                [
                    ("double", "double"),
                    ("integer", "integer"),
                    ("double", "integer"),
                    ("float", "float"),
                    ("float", "double"),
                ]
            )
        )
        return apply(draw(st.sampled_from(_COMPARE)), draw(exact(kind, depth)), draw(exact(other, 0)))
    if way == "text":
        return apply(draw(st.sampled_from(_COMPARE[:2])), draw(texts(depth)), draw(texts(0)))
    if way == "flags":
        return apply(draw(st.sampled_from(_COMPARE[:2])), field("b"), constant("true", "boolean"))
    if way == "in":
        kind = draw(st.sampled_from(["double", "integer"]))
        return apply(
            draw(st.sampled_from(["isIn", "isNotIn"])),
            *draw(st.lists(exact(kind, 0), min_size=2, max_size=4)),
        )
    if way == "missing":
        asked = st.one_of(st.sampled_from([*map(field, TYPES)]), exact("double", max(depth, 0)))
        return apply(
            draw(st.sampled_from(["isMissing", "isNotMissing", "isValid", "isNotValid"])), draw(asked)
        )
    if way == "field" or depth <= 0:
        return field("b")
    if way == "not":
        return apply("not", draw(truths(depth - 1)))
    return apply(
        draw(st.sampled_from(["and", "or"])), *draw(st.lists(truths(depth - 1), min_size=2, max_size=3))
    )


@st.composite
def texts(draw: st.DrawFn, depth: int) -> str:
    if depth <= 0:
        return draw(
            st.sampled_from(
                [field("k"), constant("red", "string"), '<FieldRef field="k" mapMissingTo="none"/>']
            )
        )
    inner = texts(depth - 1)
    way = draw(
        st.sampled_from(["shape", "concat", "substring", "replace", "if", "number", "date", "written"])
    )
    if way == "shape":
        return apply(draw(st.sampled_from(["uppercase", "lowercase", "trimBlanks"])), draw(inner))
    if way == "concat":
        parts = st.sampled_from([field("k"), field("n"), field("b"), constant("-", "string")])
        return apply("concat", *draw(st.lists(parts, min_size=1, max_size=3)))
    if way == "substring":
        return apply(
            "substring",
            draw(inner),
            constant(draw(st.integers(1, 3)), "integer"),
            constant(draw(st.integers(0, 3)), "integer"),
        )
    if way == "replace":
        return apply("replace", draw(inner), constant("[er]+", "string"), constant("_", "string"))
    if way == "number":
        return apply("formatNumber", *draw(st.sampled_from([
            (field("n"), constant("%3d", "string")), (field("x"), constant("[%+.2f]", "string")),
            (field("m"), constant("%05d", "string")), (field("y"), constant("%-9.1f|", "string")),
        ])))  # fmt: skip
    if way == "date":
        return apply("formatDatetime", field("d"), constant("%Y/%m/%d %j %y", "string"))
    if way == "written":
        return field("k")
    return apply("if", draw(truths(0)), draw(inner), draw(inner))


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, str]:
    """An expression and its type."""
    kind = draw(st.sampled_from(["double", "double", "double", "integer", "float", "boolean", "string"]))
    if kind == "double":
        return draw(st.one_of(reals(1), exact("double", 3), exact("integer", 2), exact("float", 1))), kind
    if kind == "boolean":
        return draw(truths(2)), kind
    if kind == "string":
        return draw(texts(2)), kind
    if kind == "integer":
        lengths = st.one_of(
            texts(1).map(lambda t: apply("stringLength", t)),
            st.sampled_from(
                [("dateDaysSinceYear", 1), ("dateSecondsSinceYear", 1), ("dateSecondsSinceMidnight", 0)]
            ).map(lambda f: apply(f[0], field("d"), *[constant(1960, "integer")] * f[1])),
            st.just(apply("threshold", field("x"), field("y"))),
        )
        return draw(st.one_of(exact("integer", 3), lengths)), kind
    return draw(exact(kind, 3)), kind


def document(expression: str, kind: str, place: str) -> str:
    """A document whose output `o` is the expression: of the output itself, of a derived field, or of a function."""
    optype = _OPTYPES.get(kind, "continuous")
    derived = f'<DerivedField name="v" optype="{optype}" dataType="{kind}">{expression}</DerivedField>'
    dictionary = "".join(
        f'<DataField name="{n}" optype="{_OPTYPES.get(t, "continuous")}" dataType="{t}"/>'
        for n, t in TYPES.items()
    )
    schema = "".join(f'<MiningField name="{n}"/>' for n in TYPES)
    function, told = "", field("v")
    if place == "function":
        parameters = "".join(f'<ParameterField name="{n}" dataType="{t}"/>' for n, t in TYPES.items())
        function = f'<DefineFunction name="made" optype="{optype}" dataType="{kind}">{parameters}{expression}</DefineFunction>'
        told = apply("made", *map(field, TYPES))
    elif place == "output":
        told = expression
    world = derived if place == "global" else ""
    local = derived if place == "local" else ""
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
        f"<DataDictionary>{dictionary}</DataDictionary><TransformationDictionary>{function}{world}</TransformationDictionary>"
        f'<RegressionModel functionName="regression"><MiningSchema>{schema}</MiningSchema><Output>'
        f'<OutputField name="o" feature="transformedValue" dataType="{kind}" optype="{optype}">{told}</OutputField></Output>'
        f'<LocalTransformations>{local}</LocalTransformations><RegressionTable intercept="0"/></RegressionModel></PMML>'
    )


def said(expression: str, kind: str, row: dict[str, Any]) -> Any:
    """What the reference says, None where there is no result."""
    held = {n: v if isinstance(v, date) else typed(v, TYPES[n]) for n, v in row.items()}
    try:
        value = typed(
            evaluate(ET.fromstring(expression), held | {"types": TYPES | {"result": kind}}, {}), kind
        )
    except UndefinedError:
        return None
    return None if isinstance(value, (float, np.float32)) and not math.isfinite(value) else value


_UNDEFINED = '<Apply function="equal"><Apply function="ln"><FieldRef field="x"/></Apply><Constant dataType="double">0.3</Constant></Apply>'
_DECIDED = f'<Apply function="if"><Apply function="or"><Apply function="lessThan"><FieldRef field="x"/><Constant dataType="double">0</Constant></Apply>{_UNDEFINED}</Apply><FieldRef field="x"/></Apply>'
_BELOW_0 = {"x": -0.25, "y": 0.0, "f": 0.1, "n": 0, "m": 0, "b": False, "k": "red", "d": date(2000, 1, 1)}


@settings(max_examples=400, deadline=None)
@example((_DECIDED, "double"), "output", [_BELOW_0])
@given(expressions(), st.sampled_from(["output", "global", "local", "function"]), _ROWS)
def test_expressions_give_what_the_standard_says(
    made: tuple[str, str], place: str, rows: list[dict[str, Any]]
) -> None:
    expression, kind = made
    runtime = read(document(expression, kind, place))
    for number_of_rows in (1, len(rows)):
        batch = rows[:number_of_rows]
        columns = {}
        for i in runtime.inputs:
            columns[i.name] = np.empty(len(batch), object)
            columns[i.name][:] = [
                v.isoformat() if isinstance(v, date) else v for v in (r[i.name] for r in batch)
            ]
        expected = [said(expression, kind, row) for row in batch]
        if None in expected:
            with pytest.raises(PredictError) as refused:
                runtime.predict(columns)
            assert {k for k, v in enumerate(expected) if v is None} == set(refused.value.rows or ())
        else:
            found = runtime.predict(columns)["o"].tolist()
            if kind in ("double", "float"):
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
            else:  # a flag is an output as its text
                assert found == [str(v).lower() if isinstance(v, bool) else v for v in expected]
