# ruff: noqa: E501 - documents are written in one line
"""Values that were taken for others: at bounds, beyond what a double holds, and where several rules meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError
from tests.unit.test_pmml_models import read, results
from udfs.models.runtimes.base import Artifact, PartialInput, WantedSignature
from udfs.models.runtimes.pmml.runtime import load


def of_field(  # noqa: PLR0917
    expression: str = '<FieldRef field="x"/>', kind: str = "double", inside: str = "", rule: str = "", to: str = "",
    targets: str = "",
) -> str:  # fmt: skip
    """A document that gives what an expression makes of a field x, as `o` of the type `to`, and x as `t`."""
    output = f'<Output><OutputField name="o" feature="transformedValue" optype="continuous" dataType="{to or kind}">{expression}</OutputField></Output>'
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary><DataField name="t" optype="continuous" dataType="double"/>'
        f'<DataField name="x" optype="continuous" dataType="{kind}">{inside}</DataField></DataDictionary>'
        f'<RegressionModel functionName="regression"><MiningSchema><MiningField name="t" usageType="target"/><MiningField name="x" {rule}/></MiningSchema>'
        f'{output}{targets}<RegressionTable intercept="0"><NumericPredictor name="x" coefficient="1"/></RegressionTable></RegressionModel></PMML>'
    )


def given(text: str, values: list[Any], name: str = "o") -> list[Any]:
    runtime = read(text)
    column = np.array(values, runtime.inputs[0].dtype.numpy)
    return runtime.predict({"x": column})[name].tolist()


@pytest.mark.parametrize(
    ("rule", "values", "made"),
    [
        ('invalidValueTreatment="asIs" outliers="asExtremeValues"', [5400.0, 85.0, 19.0], [5400.0, 80.0, 20.0]),
        ('invalidValueTreatment="asIs" outliers="asMissingValues" missingValueReplacement="33"', [5400.0, 85.0], [5400.0, 33.0]),
        ('invalidValueTreatment="asMissing" outliers="asExtremeValues" missingValueReplacement="7"', [5400.0, 85.0], [7.0, 80.0]),
        ('invalidValueTreatment="asValue" invalidValueReplacement="0" outliers="asExtremeValues"', [5400.0, 85.0], [0.0, 80.0]),
        ('invalidValueTreatment="asValue" invalidValueReplacement="0" outliers="asMissingValues" missingValueReplacement="33"', [5400.0, 85.0], [0.0, 33.0]),
    ],
)  # fmt: skip
def test_an_invalid_value_is_no_outlier(rule: str, values: list[float], made: list[float]) -> None:
    inside = '<Interval closure="closedClosed" leftMargin="18" rightMargin="89"/>'
    assert given(of_field(inside=inside, rule=f'{rule} lowValue="20" highValue="80"'), values) == made


HALVES = [4503599627370497.0, 0.49999999999999994, 0.5, -0.5, -2.5, -2.6, 2.5]
ROUNDED = [4503599627370497.0, 0.0, 1.0, 0.0, -2.0, -3.0, 3.0]


def test_halves_are_rounded_up_and_nothing_else() -> None:
    made = of_field('<Apply function="round"><FieldRef field="x"/></Apply>')
    assert given(made, HALVES) == ROUNDED
    cast = of_field(targets='<Targets><Target field="t" castInteger="round"/></Targets>')
    assert given(cast, HALVES, "predicted_t") == ROUNDED
    single = of_field('<Apply function="round"><FieldRef field="x"/></Apply>', "float")
    assert given(single, [8388609.0, 0.49999997, 1.5]) == [8388609.0, 0.0, 2.0]


BIG = 2**53 + 1  # the least integer that no double is


def test_bounds_of_integers_are_exact() -> None:
    inside = f'<Interval closure="closedOpen" leftMargin="-0.5" rightMargin="{BIG}"/>'
    declared = of_field(
        kind="integer", inside=inside, rule='invalidValueTreatment="asValue" invalidValueReplacement="-9"'
    )
    assert given(declared, [BIG, BIG - 1, 0, -1]) == [-9, BIG - 1, 0, -9]
    bins = f'<Discretize field="x" defaultValue="2"><DiscretizeBin binValue="1"><Interval closure="openClosed" leftMargin="0.5" rightMargin="{BIG - 1}"/></DiscretizeBin></Discretize>'
    assert given(of_field(bins, "integer"), [BIG, BIG - 1, 1, 0]) == [2, 1, 1, 2]
    clipped = of_field(kind="integer", rule=f'outliers="asExtremeValues" lowValue="-{BIG}" highValue="{BIG}"')
    assert given(clipped, [BIG + 2, BIG, -BIG, -BIG - 1, 2**63 - 1]) == [BIG, BIG, -BIG, -BIG, BIG]
    tiny = f'<Interval closure="closedOpen" leftMargin="1E-9999999999999999999" rightMargin="{BIG}"/>'
    assert given(declared.replace(inside, tiny), [BIG, 0]) == [-9, 0]
    far = of_field(kind="integer", rule='outliers="asExtremeValues" lowValue="-1E30" highValue="1E30"')
    assert given(far, [2**63 - 1, -(2**63)]) == [2**63 - 1, -(2**63)]
    missed = of_field(
        kind="integer", rule=f'outliers="asMissingValues" highValue="{BIG - 1}" missingValueReplacement="5"'
    )
    assert given(missed, [BIG, BIG - 1]) == [5, BIG - 1]


def test_bounds_of_float_fields_are_floats() -> None:
    rule = 'invalidValueTreatment="asValue" invalidValueReplacement="9"'
    inside = '<Interval closure="openClosed" leftMargin="0.1" rightMargin="1E300"/>'
    tenth = float(np.float32(0.1))
    assert given(of_field(kind="float", inside=inside, rule=rule), [tenth, 1e30]) == [
        9.0,
        float(np.float32(1e30)),
    ]


@pytest.mark.parametrize(("name", "made"), [("sum", BIG + 1), ("product", BIG)])
def test_integers_are_added_and_multiplied_exactly(name: str, made: int) -> None:
    def of(*others: str) -> str:
        return of_field(f'<Apply function="{name}"><FieldRef field="x"/>{"".join(others)}</Apply>', "integer")

    one = '<Constant dataType="integer">1</Constant>'
    absent = '<Constant dataType="integer" missing="true"/>'
    assert given(of(one), [BIG]) == [made]
    assert given(of(one, absent), [BIG]) == [made]
    many = f'<Constant dataType="integer">{2**62}</Constant>'
    with pytest.raises(PredictError, match=f"'{name}' of integers has no 64-bit result in rows 1"):
        given(of(many), [1, 2**62])


@pytest.mark.parametrize(
    ("said", "values", "made"),
    [
        ('<Apply function="sum"><FieldRef field="x"/><FieldRef field="x"/><Constant>-1</Constant></Apply>', [2**62], [2**63 - 1]),
        ('<Apply function="+"><FieldRef field="x"/><Constant>4611686018427387903</Constant></Apply>', [2**62], [2**63 - 1]),
        ('<Apply function="*"><FieldRef field="x"/><Constant>2</Constant></Apply>', [-(2**62)], [-(2**63)]),
        ('<Apply function="product"><FieldRef field="x"/><FieldRef field="x"/><Constant>0</Constant></Apply>', [2**40], [0]),
        ('<Apply function="modulo"><FieldRef field="x"/><Constant>10</Constant></Apply>', [2**62 + 1, -7], [5, 3]),
    ],
)  # fmt: skip
def test_integers_that_have_place_in_the_end_are_no_reason_to_refuse(
    said: str, values: list[int], made: list[int]
) -> None:
    """As doubles these results are 2^63, or are beyond it on the way."""
    assert given(of_field(said, "integer"), values) == made


def test_integers_that_have_no_place_are_refused_one_by_one() -> None:
    for said, bad in (
        (
            '<Apply function="+"><FieldRef field="x"/><Constant>4611686018427387903</Constant></Apply>',
            2**62 + 1,
        ),
        ('<Apply function="-"><FieldRef field="x"/><Constant>2</Constant></Apply>', -(2**63) + 1),
        ('<Apply function="modulo"><Constant>3</Constant><FieldRef field="x"/></Apply>', 0),
    ):
        with pytest.raises(PredictError, match=r"of integers has no 64-bit result in rows 1$"):
            given(of_field(said, "integer"), [5, bad])


def test_integers_of_32_bits_are_computed_with_as_all_others() -> None:
    """They wrapped around, silently."""
    text = of_field('<Apply function="*"><FieldRef field="x"/><FieldRef field="x"/></Apply>', "integer")
    inside = '<Interval closure="openOpen" leftMargin="3e9" rightMargin="4e9"/>'
    wanted = WantedSignature(inputs=(PartialInput("x", dtype="int32"),))
    runtime = load(Artifact(text.encode(), None, None), wanted)  # type: ignore[arg-type]
    assert runtime.predict({"x": np.array([70_000], np.int32)})["o"].tolist() == [70_000**2]
    beyond = load(Artifact(of_field(kind="integer", inside=inside).encode(), None, None), wanted)  # type: ignore[arg-type]
    assert beyond.sample(4)["x"].tolist() == [2**31 - 1] * 4  # none is valid: all the same there are some


def test_a_constant_with_a_point_or_an_exponent_is_no_integer() -> None:
    def plus(constant: str) -> str:
        return f'<Apply function="+"><FieldRef field="x"/><Constant>{constant}</Constant></Apply>'

    assert given(of_field(plus("0"), "integer"), [BIG]) == [BIG]
    for constant in ("0.0", "0e0", "0."):
        assert given(of_field(plus(constant), "integer"), [BIG]) == [BIG - 1]


def test_whether_a_value_is_valid() -> None:
    inside = '<Interval closure="closedClosed" leftMargin="0" rightMargin="9"/><Value value="-99" property="missing"/>'
    values = [5.0, 10.0, -99.0, np.nan]

    def asked(name: str, rule: str, field: str = '<FieldRef field="x"/>') -> list[float]:
        called = f'<Apply function="if"><Apply function="{name}">{field}</Apply><Constant dataType="double">1</Constant><Constant dataType="double">0</Constant></Apply>'
        card = '<RegressionTable intercept="0"/>'
        text = of_field(called, inside=inside, rule=rule)
        return given(
            text.replace(text[text.index("<RegressionTable") : text.index("</RegressionModel>")], card),
            values,
        )

    assert asked("isValid", 'invalidValueTreatment="asIs"') == [1, 0, 0, 0]
    assert asked("isNotValid", 'invalidValueTreatment="asIs"') == [0, 1, 1, 1]
    assert asked("isValid", 'invalidValueTreatment="asMissing"') == [1, 0, 0, 0]
    assert asked("isValid", 'invalidValueTreatment="asIs" missingValueReplacement="3"') == [1, 0, 1, 1]
    assert asked("isValid", 'invalidValueTreatment="asValue" invalidValueReplacement="3"') == [1, 1, 0, 0]
    assert asked(
        "isValid",
        'invalidValueTreatment="asIs"',
        '<Apply function="+"><FieldRef field="x"/><FieldRef field="x"/></Apply>',
    ) == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("operator", "said", "values"),
    [
        ("lessThan", -(2**63), [2, 2, 2]), ("greaterOrEqual", -(2**63), [1, 1, 1]), ("greaterThan", 2**63 - 1, [2, 2, 2]), ("lessOrEqual", 2**63 - 1, [1, 1, 1]),
        ("lessThan", "1e30", [1, 1, 1]), ("greaterThan", "-1e30", [1, 1, 1]), ("equal", "1e30", [2, 2, 2]), ("notEqual", "-1e30", [1, 1, 1]), ("lessThan", 0, [1, 2, 2]),
    ],
)  # fmt: skip
def test_a_tree_asks_for_integers_at_and_beyond_the_bounds(
    operator: str, said: object, values: list[int]
) -> None:
    fields = '<DataDictionary><DataField name="x" optype="continuous" dataType="integer"/></DataDictionary>'
    asked = f'<SimplePredicate field="x" operator="{operator}" value="{said}"/>'
    text = (
        f'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>{fields}<TreeModel functionName="regression">'
        f'<MiningSchema><MiningField name="x"/></MiningSchema><Node><True/><Node score="1">{asked}</Node><Node score="2"><True/></Node></Node></TreeModel></PMML>'
    )
    assert results(text, [{"x": -(2**63)}, {"x": 0}, {"x": 2**63 - 1}])["predictedValue"] == values


@pytest.mark.parametrize(
    ("operator", "said", "values"),
    [
        ("lessThan", 2**63, [1, 1, 1]), ("greaterOrEqual", 2**63, [2, 2, 2]), ("equal", 2**63, [2, 2, 2]), ("notEqual", 2**63, [1, 1, 1]),
        ("greaterThan", f"{BIG}.5", [2, 2, 1]), ("lessOrEqual", f"{BIG}.5", [1, 1, 2]), ("equal", f"{BIG}.5", [2, 2, 2]), ("lessThan", f"{BIG - 1}.5", [1, 2, 2]),
        ("greaterOrEqual", "9.007199254740993E15", [2, 1, 1]), ("notEqual", 0.5, [1, 1, 1]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tree", [True, False])
def test_a_predicate_asks_for_integers_exactly(
    operator: str, said: object, values: list[int], tree: bool
) -> None:
    """In trees and outside: as a double the greatest integer is 2^63, and 2^53 + 1.5 is none."""
    fields = '<DataDictionary><DataField name="x" optype="continuous" dataType="integer"/></DataDictionary>'
    asked = f'<SimplePredicate field="x" operator="{operator}" value="{said}"/>'
    schema = '<MiningSchema><MiningField name="x"/></MiningSchema>'
    model = (
        f'<TreeModel functionName="regression">{schema}<Node><True/><Node score="1">{asked}</Node><Node score="2"><True/></Node></Node></TreeModel>'
        if tree
        else f'<RuleSetModel functionName="regression">{schema}<RuleSet defaultScore="2"><RuleSelectionMethod criterion="firstHit"/><SimpleRule score="1">{asked}</SimpleRule></RuleSet></RuleSetModel>'
    )
    text = f'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>{fields}{model}</PMML>'
    rows = [{"x": BIG - 1}, {"x": BIG}, {"x": 2**63 - 1}]
    assert results(text, rows)["predictedValue"] == values


@pytest.mark.parametrize("kind", ["", 'dataType="double"'])
def test_a_function_compares_with_what_no_integer_reaches(kind: str) -> None:
    def asked(function: str, said: int) -> list[Any]:
        constant = f"<Constant {kind}>{said}</Constant>"
        text = of_field(
            f'<Apply function="{function}"><FieldRef field="x"/>{constant}</Apply>', "integer", to="boolean"
        )
        return given(text, [2**63 - 1, -(2**63)])

    assert asked("lessThan", 2**63) == ["true", "true"]
    assert asked("equal", 2**63) == asked("isIn", 2**63) == ["false", "false"]
    assert asked("greaterOrEqual", -(2**63) - 2000) == ["true", "true"]
    assert asked("lessOrEqual", -(2**63)) == ["false", "true"]
