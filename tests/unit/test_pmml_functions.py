# ruff: noqa: E501 - documents are written in one line
"""Transformations of PMML, each against a value worked out by hand from the standard's text."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError, UnprovenModelError
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.compiler.types import float32
from udfs.models.runtimes.pmml.runtime import PmmlRuntime, load

FIELDS = {
    "x": "double",
    "y": "double",
    "f": "float",
    "n": "integer",
    "m": "integer",
    "k": "string",
    "b": "boolean",
    "d": "date",
}
OPTYPES = {"string": "categorical", "boolean": "categorical", "date": "ordinal"}
ROW = {"x": 4.0, "y": -2.5, "f": 0.1, "n": 7, "m": 3, "k": "Red Apple", "b": True, "d": "2020-03-01"}


def expression_document(expression: str, kind: str = "double", extra: str = "", fields: str = "") -> str:
    dictionary = "".join(
        f'<DataField name="{n}" optype="{OPTYPES.get(t, "continuous")}" dataType="{t}"/>'
        for n, t in FIELDS.items()
    )
    schema = fields or "".join(f'<MiningField name="{n}"/>' for n in FIELDS)
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
        f'<DataDictionary>{dictionary}<DataField name="t" optype="continuous" dataType="double"/></DataDictionary>'
        f"<TransformationDictionary>{extra}</TransformationDictionary>"
        f'<RegressionModel functionName="regression"><MiningSchema><MiningField name="t" usageType="target"/>{schema}'
        f'</MiningSchema><Output><OutputField name="out" feature="transformedValue" dataType="{kind}" optype="continuous">'
        f'{expression}</OutputField></Output><RegressionTable intercept="0"/></RegressionModel></PMML>'
    )


def read(text: str) -> PmmlRuntime:
    return load(Artifact(text.encode(), None, Path()), WantedSignature())


def value(text: str, row: dict[str, Any] | None = None) -> Any:
    runtime = read(text)
    given = ROW | (row or {})
    columns = {}
    for i in runtime.inputs:
        column = np.empty(1, object)
        column[0] = given[i.name]
        columns[i.name] = column
    return runtime.predict(columns)["out"].tolist()[0]


def field(name: str) -> str:
    return f'<FieldRef field="{name}"/>'


def number(said: Any, kind: str = "double") -> str:
    return f'<Constant dataType="{kind}">{said}</Constant>'


def apply(name: str, *arguments: str, attributes: str = "") -> str:
    return f'<Apply function="{name}" {attributes}>{"".join(arguments)}</Apply>'


X, Y, F, N, M, K, B, D = map(field, "xyfnmkbd")
NUMBERS = [
    (apply("+", X, Y), 1.5), (apply("-", X, Y), 6.5), (apply("*", X, Y), -10.0), (apply("/", Y, X), -0.625),
    (apply("pow", X, number(0.5)), 2.0), (apply("modulo", Y, X), 1.5), (apply("sqrt", X), 2.0),
    (apply("ln", X), math.log(4)), (apply("log10", X), math.log10(4)), (apply("exp", Y), math.exp(-2.5)),
    (apply("expm1", Y), math.expm1(-2.5)), (apply("ln1p", X), math.log1p(4)), (apply("abs", Y), 2.5),
    (apply("floor", Y), -3.0), (apply("ceil", Y), -2.0), (apply("round", Y), -2.0), (apply("rint", Y), -2.0),
    (apply("threshold", X, number(3)), 1.0), (apply("threshold", Y, number(3)), 0.0), (apply("tanh", Y), math.tanh(-2.5)),
    (apply("sum", X, Y, number(1)), 2.5), (apply("avg", X, Y), 0.75), (apply("min", X, Y), -2.5), (apply("max", X, Y), 4.0),
    (apply("product", X, Y, number(2)), -20.0), (apply("median", X, Y, number(1)), 1.0), (apply("erf", Y), math.erf(-2.5)),
    (apply("stdNormalCDF", number(0)), 0.5), (apply("stdNormalIDF", number(0.975)), 1.959963984540054),
    (apply("normalCDF", number(3), number(1), number(2)), 0.8413447460685429), (apply("*", N, M), 21.0),
    (apply("if", apply("greaterThan", X, number(3)), number(1), number(2)), 1.0),
    (apply("if", apply("lessOrEqual", X, number(3)), number(1), number(2)), 2.0),
    (apply("if", apply("and", apply("equal", K, number("Red Apple", "string")), B), number(1), number(0)), 1.0),
    (apply("if", apply("not", B), number(1), number(0)), 0.0),
    (apply("if", apply("isIn", N, number(3, "integer"), number(7, "integer")), number(1), number(0)), 1.0),
    (apply("if", apply("isNotIn", N, number(3, "integer"), number(7, "integer")), number(1), number(0)), 0.0),
    (apply("dateDaysSinceYear", D, number(2020, "integer")), 60.0),
    (apply("dateSecondsSinceYear", D, number(2020, "integer")), 60.0 * 86400), (apply("stringLength", K), 9.0),
    ('<NormDiscrete field="k" value="Red Apple"/>', 1.0), ('<NormDiscrete field="k" value="Green"/>', 0.0),
    ('<NormContinuous field="x"><LinearNorm orig="0" norm="0"/><LinearNorm orig="2" norm="1"/></NormContinuous>', 2.0),
    ('<NormContinuous field="x" outliers="asExtremeValues"><LinearNorm orig="0" norm="0"/><LinearNorm orig="2" norm="1"/></NormContinuous>', 1.0),
    ('<NormContinuous field="x" outliers="asMissingValues" mapMissingTo="9"><LinearNorm orig="0" norm="0"/><LinearNorm orig="2" norm="1"/></NormContinuous>', 9.0),
    ('<Discretize field="x" dataType="double"><DiscretizeBin binValue="1"><Interval closure="openOpen" leftMargin="4"/></DiscretizeBin><DiscretizeBin binValue="2"><Interval closure="closedOpen" leftMargin="4" rightMargin="5"/></DiscretizeBin></Discretize>', 2.0),
    ('<Discretize field="y" dataType="double" defaultValue="5"><DiscretizeBin binValue="1"><Interval closure="openOpen" leftMargin="4"/></DiscretizeBin></Discretize>', 5.0),
    ('<MapValues outputColumn="o" dataType="double"><FieldColumnPair field="n" column="i"/><FieldColumnPair field="k" column="j"/><InlineTable><row><i>7</i><j>Green</j><o>1</o></row><row><i>7</i><j>Red Apple</j><o>2</o></row></InlineTable></MapValues>', 2.0),
    ('<MapValues outputColumn="o" dataType="double" defaultValue="8"><FieldColumnPair field="n" column="i"/><InlineTable><row><i>6</i><o>1</o></row></InlineTable></MapValues>', 8.0),
    ('<TextIndex textField="k">' + number("apple", "string") + "</TextIndex>", 1.0),
    ('<TextIndex textField="k" isCaseSensitive="true">' + number("apple", "string") + "</TextIndex>", 0.0),
    ('<TextIndex textField="k" localTermWeights="logarithmic">' + number("red apple", "string") + "</TextIndex>", math.log10(2)),
]  # fmt: skip
TEXTS = [
    (apply("uppercase", K), "RED APPLE"), (apply("lowercase", K), "red apple"), (apply("concat", K, N), "Red Apple7"),
    (apply("substring", K, number(5, "integer"), number(3, "integer")), "App"),
    (apply("trimBlanks", number("  a ", "string")), "a"),
    (apply("replace", K, number("[aeiou]+", "string"), number("-", "string")), "R-d Appl-"),
    (apply("replace", K, number(r"\s+\w+$", "string"), number("", "string")), "Red"),
    (apply("replace", K, number("(R)(e)", "string"), number("$2-$1", "string")), "e-Rd Apple"),
    (apply("formatDatetime", D, number("%d.%m.%Y", "string")), "01.03.2020"),
    ('<MapValues outputColumn="o"><FieldColumnPair field="n" column="i"/><InlineTable><row><i>7</i><o>seven</o></row></InlineTable></MapValues>', "seven"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), NUMBERS)
def test_numbers(expression: str, expected: float) -> None:
    assert value(expression_document(expression)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("expression", "expected"), TEXTS)
def test_texts(expression: str, expected: str) -> None:
    assert value(expression_document(expression, "string")) == expected


NONE = '<MapValues outputColumn="o" dataType="double" {}><FieldColumnPair field="n" column="i"/><InlineTable><row><i>7</i><o>1</o></row><row><o>9</o></row></InlineTable></MapValues>'
"""As LightGBM's category None is exported."""


@pytest.mark.parametrize(
    ("expression", "row", "expected"),
    [
        (apply("if", apply("isMissing", X), number(-1), X), {"x": None}, -1.0),
        (apply("if", apply("isNotMissing", X), X, number(-1)), {"x": None}, -1.0),
        (apply("+", X, Y, attributes='mapMissingTo="3"'), {"x": None}, 3.0),
        (apply("sum", X, Y), {"x": None}, -2.5),
        (apply("avg", X, Y), {"x": None}, -2.5),
        (apply("if", apply("or", apply("isMissing", X), B), number(1), number(0)), {"x": None}, 1.0),
        ('<FieldRef field="n" mapMissingTo="12"/>', {"n": None}, 12.0),
        ('<NormDiscrete field="k" value="a" mapMissingTo="0.5"/>', {"k": None}, 0.5),
        (apply("stringLength", apply("concat", '<FieldRef field="k"/>', number("ab", "string"))), {"k": None}, 2.0),
        (NONE.format(""), {"n": None}, 9.0),
        (NONE.format('mapMissingTo="4"'), {"n": None}, 4.0),
        (NONE.format('defaultValue="3"'), {"n": 6}, 3.0),
        ('<MapValues outputColumn="o" dataType="double" mapMissingTo="4"><FieldColumnPair field="n" column="i"/><InlineTable><row><i>7</i><o>1</o></row></InlineTable></MapValues>', {"n": None}, 4.0),
    ],
)  # fmt: skip
def test_missing_values_with_a_rule(expression: str, row: dict[str, Any], expected: float) -> None:
    runtime = read(expression_document(expression))
    assert {i.name for i in runtime.inputs if i.optional} >= {
        name for name, held in row.items() if held is None
    }
    assert value(expression_document(expression), row) == expected


@pytest.mark.parametrize(
    "expression",
    [apply("+", X, Y), apply("pow", X, number(2)), apply("product", apply("pow", X, number(2)), Y)],
)
def test_missing_values_without_a_rule_have_no_result(expression: str) -> None:
    with pytest.raises(PredictError, match="'out'"):
        value(expression_document(expression), {"x": None})


def test_floats_are_rounded_once_and_their_arithmetic_is_of_floats() -> None:
    product = value(expression_document(apply("*", F, F), "float"))
    assert product == float(np.float32(0.1) * np.float32(0.1)) != 0.1 * 0.1
    assert (
        value(
            expression_document(
                apply("if", apply("equal", F, "<Constant>0.1</Constant>"), number(1), number(0))
            )
        )
        == 1.0
    )
    assert (
        value(expression_document(apply("if", apply("equal", F, number(0.1)), number(1), number(0)))) == 0.0
    )


def test_a_decimal_is_not_rounded_twice_on_its_way_to_a_float() -> None:
    # just above the middle of two floats, by less than a double can say
    middle = "1.00000005960464477539062500001"
    assert np.float32(float(middle)) == np.float32(1.0)
    assert float32(middle) == np.nextafter(np.float32(1.0), np.float32(2.0))


def test_integers_are_exact_beyond_the_doubles() -> None:
    beyond = 2**53 + 1
    assert value(expression_document(apply("-", N, number(2**53, "integer")), "integer"), {"n": beyond}) == 1
    same = apply("if", apply("equal", N, number(beyond, "integer")), number(1), number(0))
    assert value(expression_document(same), {"n": beyond}) == 1.0
    assert value(expression_document(same), {"n": beyond - 1}) == 0.0
    with pytest.raises(PredictError, match="no 64-bit result"):
        value(expression_document(apply("*", N, N), "integer"), {"n": 2**62})


DOUBLE_IT = (
    '<DefineFunction name="twice" optype="continuous"><ParameterField name="a"/>'
    + apply("*", field("a"), number(2))
    + "</DefineFunction>"
)


def test_functions_of_the_document() -> None:
    assert value(expression_document(apply("twice", apply("twice", X)), extra=DOUBLE_IT)) == 16.0


@pytest.mark.parametrize(
    ("expression", "extra", "reason"),
    [
        (apply("x-odd", X), "", "the function 'x-odd' is not known"),
        (apply("concat", X, K), "", "writes a double as text"),
        (apply("+", X, K), "", "'\\+' is given a string"),
        (apply("matches", K, K), "", "the pattern of 'matches' must be a constant"),
        (apply("matches", K, number("a++", "string")), "", "not one that every program reads alike"),
        (field("odd"), "", "the field 'odd' is read and not defined"),
        (number("abc"), "", "'abc' in a Constant is no double"),
        ('<Lag field="x"/>', "", "the element 'Lag' is not known"),
        (apply("loop", X), '<DefineFunction name="loop" optype="continuous"><ParameterField name="a"/>' + apply("loop", field("a")) + "</DefineFunction>", "calls itself"),
        (field("u"), '<DerivedField name="u" optype="continuous" dataType="double">' + field("v") + '</DerivedField><DerivedField name="v" optype="continuous" dataType="double">' + field("u") + "</DerivedField>", "rests on itself"),
        (apply("f9", X), "".join(f'<DefineFunction name="f{k}" optype="continuous"><ParameterField name="a"/>' + apply("+", *[apply(f"f{k - 1}", field("a"))] * 2 if k else [field("a")] * 2) + "</DefineFunction>" for k in range(20)).replace('"f9"', '"f9"'), ""),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(expression: str, extra: str, reason: str) -> None:
    if not reason:  # ten levels of two calls each are a thousand, which is allowed
        assert value(expression_document(expression, extra=extra)) == 4.0 * 2**10
        return
    with pytest.raises(UnprovenModelError, match=reason):
        read(expression_document(expression, extra=extra))


def index(term: str, attributes: str = "", *rows: tuple[str, str], again: bool = False) -> str:
    cells = "".join(
        f"<row><string>{said}</string><stem>{by}</stem><regex>true</regex></row>" for said, by in rows
    )
    change = f'<TextIndexNormalization recursive="{str(again).lower()}"><InlineTable>{cells}</InlineTable></TextIndexNormalization>'
    return expression_document(
        f'<TextIndex textField="k" {attributes}>{change if rows else ""}{number(term, "string")}</TextIndex>'
    )


@pytest.mark.parametrize(
    ("text", "count"), [("Straße, Café straße", 2.0), ("strasse", 0.0), ("xstraße", 0.0)]
)
def test_words_as_scikit_learn_finds_them_are_of_all_letters(text: str, count: float) -> None:
    assert value(index("straße", r'x-wordRE="(?u)\b\w\w+\b"'), {"k": text}) == count


def test_texts_are_normalised_before_their_words_are_counted() -> None:
    """Stop words of scikit-learn are taken out so: the words beside them are neighbours then."""
    stops = (r"\b(the|of)\b", " ")
    found = index("end world", r'x-wordRE="\w+"', stops)
    assert value(found, {"k": "The end OF the world"}) == 1.0
    assert value(index("end world", r'x-wordRE="\w+"'), {"k": "The end OF the world"}) == 0.0
    assert value(index("abc", "", ("x", "b"), ("b(.)", "b$1")), {"k": "axc AXC abc"}) == 3.0
    cased = index("abc", 'isCaseSensitive="true"', ("X", "b"))
    assert value(cased, {"k": "axc aXc"}) == 1.0
    pairs = index("ac", "", ("xy", ""), again=True)
    assert value(pairs, {"k": "axxyyc axyc"}) == 2.0
    assert value(index("ac", "", ("xy", "")), {"k": "axxyyc axyc"}) == 1.0
    spaced = index("a", "", (r"(^|\s+)\p{Punct}*(the|of)\p{Punct}*(\s+|$)", " "), again=True)
    assert value(spaced, {"k": "the of a 'the', of"}) == 1.0
    with pytest.raises(PredictError, match="not normalised in 100 rounds"):
        value(index("ac", "", ("x", "y"), ("y", "x"), ("x", "xz"), again=True), {"k": "x"})


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (index("a", "", ("b", "c")).replace("<regex>true</regex>", ""), "no regular expression"),
        (index("a", "", ("b", "c")).replace("stem>", "root>"), "lacks a column"),
        (index("a", "", ("B", "c")), "has upper case"),
        (index("a", "", ("a", "c")), "the term 'a' of a TextIndex is changed"),
        (index("a", "", ("b", "$x")), "is not one that every program reads alike"),
        (
            index("a", "", ("b", "c")).replace("recursive", 'isCaseSensitive="true" recursive'),
            "minds upper case",
        ),
    ],
)
def test_normalisations_that_are_not_read_alike_are_refused(document: str, reason: str) -> None:
    with pytest.raises(UnprovenModelError, match=re.escape(reason)):
        read(document)


LONG = {"k": "a" * 30 + "!" * 100_000}


@pytest.mark.parametrize(
    "said", ["(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "([a-z]+)*\\d", "(.*)(.*)(.*)(.*)b$", "!*!*b"]
)
def test_no_pattern_takes_for_ever(said: str) -> None:
    found = apply("if", apply("matches", K, number(said, "string")), number(1), number(0))
    assert value(expression_document(found), LONG) == 0.0
    gone = apply("replace", K, number(said, "string"), number("", "string"))
    assert value(expression_document(gone, "string"), LONG) == LONG["k"]
    index = f'<TextIndex textField="k" wordSeparatorCharacterRE="{said}">{number("a", "string")}</TextIndex>'
    assert value(expression_document(index), LONG) == 0.0


@pytest.mark.parametrize("said", ["(?=a)b", "a(?!b)", "(a{1000}){1000}", "a{2000}"])
def test_patterns_that_need_more_than_one_pass_are_refused(said: str) -> None:
    with pytest.raises(UnprovenModelError, match="bounded time"):
        read(expression_document(apply("matches", K, number(said, "string")), "string"))


@pytest.mark.parametrize(
    "said", ["a$", "^a$", r"\\s$", r"[\\s]a", r"\\Sb$", "a|b$", r"\\$", "[$]", r"a\\b", "a.b"]
)
@pytest.mark.parametrize("text", ["a", "a\n", "a\n\n", "\x0ba", "b a\n", "cb\n", "a$", "a\x0bb", ""])
def test_patterns_mean_what_they_mean_in_python(said: str, text: str) -> None:
    found = apply("if", apply("matches", K, number(said, "string")), number(1), number(0))
    assert value(expression_document(found), {"k": text}) == float(bool(re.search(said, text, re.ASCII)))


def test_texts_do_not_grow_without_bound() -> None:
    document = expression_document(
        apply("replace", K, number("a", "string"), number("b" * 1000, "string")), "string"
    )
    assert value(document, {"k": "aa"}) == "b" * 2000
    with pytest.raises(PredictError, match="characters, the bound is"):
        value(document, {"k": "a" * 100_000})
    joined = expression_document(apply("concat", *[K] * 20), "string")
    with pytest.raises(PredictError, match="characters, the bound is"):
        value(joined, {"k": "a" * 1_000_000})


def test_calls_that_multiply_without_bound_are_refused() -> None:
    functions = "".join(
        f'<DefineFunction name="f{k}" optype="continuous"><ParameterField name="a"/>'
        + apply("+", *([apply(f"f{k - 1}", field("a"))] * 2 if k else [field("a")] * 2))
        + "</DefineFunction>"
        for k in range(60)
    )
    with pytest.raises(UnprovenModelError, match="calls its own functions more than"):
        read(expression_document(apply("f59", X), extra=functions))


def test_a_substring_that_a_record_begins_before_its_text_is_none() -> None:
    text = expression_document(apply("substring", K, N, M), "string")
    assert value(text, {**ROW, "n": 1, "m": 0}) == ""
    assert value(text, {**ROW, "n": 5, "m": 3}) == "App"
    for n, m in ((0, 3), (-1, 3), (1, -1)):
        with pytest.raises(PredictError, match="begins before its text"):
            value(text, {**ROW, "n": n, "m": m})


TREATMENTS = [
    ('name="x" missingValueReplacement="5"', {"x": None}, 5.0),
    ('name="x" outliers="asExtremeValues" lowValue="0" highValue="3"', {"x": 4.0}, 3.0),
    ('name="x" outliers="asMissingValues" lowValue="0" highValue="3" missingValueReplacement="9"', {"x": 4.0}, 9.0),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "row", "expected"), TREATMENTS)
def test_treatments_of_the_mining_schema(attributes: str, row: dict[str, Any], expected: float) -> None:
    assert value(expression_document(X, fields=f"<MiningField {attributes}/>"), row) == expected


INTERVAL = '<DataField name="x" optype="continuous" dataType="double"><Interval closure="closedOpen" leftMargin="0" rightMargin="4"/></DataField>'
PLAIN = '<DataField name="x" optype="continuous" dataType="double"/>'


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [("", None), ('invalidValueTreatment="asIs"', 4.0), ('invalidValueTreatment="asValue" invalidValueReplacement="1"', 1.0),
     ('invalidValueTreatment="asMissing" missingValueReplacement="2"', 2.0)],
)  # fmt: skip
def test_values_outside_of_a_declared_interval(attributes: str, expected: float | None) -> None:
    text = expression_document(X, fields=f'<MiningField name="x" {attributes}/>').replace(PLAIN, INTERVAL)
    if expected is None:
        with pytest.raises(PredictError, match="'x' holds what the model declares invalid in rows 0"):
            value(text)
    else:
        assert value(text) == expected
    assert value(text, {"x": 3.5}) == 3.5


def test_a_fraction_in_an_integer_field_is_invalid() -> None:
    text = expression_document(N, fields='<MiningField name="n"/>')
    assert value(text, {"n": 5.0}) == 5
    with pytest.raises(PredictError, match="'n' holds what the model declares invalid"):
        value(text, {"n": 5.5})


@pytest.mark.parametrize("text", ["9" * 5000, "0" * 5000, "9" * 400])
def test_a_text_with_more_digits_than_an_integer_has_is_none(text: str) -> None:
    derived = f'<DerivedField name="i" optype="continuous" dataType="integer">{field("k")}</DerivedField>'
    with pytest.raises(PredictError, match="'i' is no integer in rows 0"):
        value(expression_document(field("i"), "integer", derived), {"k": text})


@pytest.mark.parametrize(
    ("pattern", "by", "made"),
    [
        ("[ae]", "é", "Réd Applé"), ("(R)(e)", "$2$1ß", "eRßd Apple"), ("x?l", "$0$0", "Red Applle"), ("(z)?p", "[$1]", "Red A[][]le"), (r"\s+", "→", "Red→Apple"),
    ],
)  # fmt: skip
def test_a_match_is_replaced_by_any_letters_and_by_groups(pattern: str, by: str, made: str) -> None:
    """Beyond ASCII the letters came out as two others each, where the pattern is one for RE2."""
    text = apply("replace", K, number(pattern, "string"), number(by, "string"))
    assert value(expression_document(text, "string")) == made


@pytest.mark.parametrize("by", ["$1", "$", "a$b", r"\n", "$2"])
def test_a_replacement_by_a_group_that_there_is_not_is_refused(by: str) -> None:
    """The record failed, and not the document."""
    for said in ("e", r"\s+") if by != "$2" else ("(e)",):
        with pytest.raises(UnprovenModelError, match="that its pattern has not"):
            read(
                expression_document(
                    apply("replace", K, number(said, "string"), number(by, "string")), "string"
                )
            )


@pytest.mark.parametrize("said", [r"(\s|,)", r"\s|(,)", r"(\s)|(,)", "[ ,]"])
def test_groups_of_what_separates_words_are_no_words(said: str) -> None:
    def count(term: str, attributes: str = "") -> Any:
        given = attributes or f'wordSeparatorCharacterRE="{said}"'
        return value(
            expression_document(f'<TextIndex textField="k" {given}>{number(term, "string")}</TextIndex>'),
            {"k": "red apple,pie"},
        )

    assert (count("red apple"), count("apple,pie"), count("pie")) == (1.0, 1.0, 1.0)
    assert count("apple pie", 'x-wordRE="([a-z])+"') == 1.0
    assert count("pie", 'countHits="bestHits"') == 0.0


def test_a_table_may_be_asked_by_numbers_with_others() -> None:
    rows = "".join(
        f"<row><a>{a}</a><b>{b}</b><c>{c}</c><o>{o}</o></row>"
        for a, b, c, o in ((4, "0.1", "Red Apple", 1), ("4.5", "0.1", "Red Apple", 2))
    )
    pairs = "".join(f'<FieldColumnPair field="{f}" column="{c}"/>' for f, c in zip("xfk", "abc", strict=True))
    table = f'<MapValues outputColumn="o" dataType="integer" defaultValue="9">{pairs}<InlineTable>{rows}</InlineTable></MapValues>'
    text = expression_document(table, "integer")
    assert [value(text, {"x": x}) for x in (4.0, 4.5, 5.0)] == [1, 2, 9]
    assert value(text, {"f": 0.2}) == 9
