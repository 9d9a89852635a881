# ruff: noqa: E501, PLR0917 - documents are written in one line
"""Predicates that ask for the order of an ordinal field: that of its declared values (PMML 4.4, Data Dictionary)."""

from __future__ import annotations

import pytest

from schemas.errors import UnprovenModelError
from tests.unit.test_pmml_models import read, results

SIZES = ("small", "medium", "large")


def asking(
    operator: str,
    value: str,
    tree: bool,
    rule: str = "",
    kind: str = "string",
    sizes: tuple[str, ...] = SIZES,
) -> str:
    """1 where the field k compares so, else 2; of a tree, or of the rules of a set."""
    values = "".join(f'<Value value="{s}"/>' for s in sizes)
    asked = f'<SimplePredicate field="k" operator="{operator}" value="{value}"/>'
    schema = f'<MiningSchema><MiningField name="t" usageType="target"/><MiningField name="k" {rule}/></MiningSchema>'
    model = (
        f'<TreeModel functionName="regression" missingValueStrategy="none">{schema}<Node><True/><Node score="1">{asked}</Node><Node score="2"><True/></Node></Node></TreeModel>'
        if tree
        else f'<RuleSetModel functionName="regression">{schema}<RuleSet defaultScore="2"><RuleSelectionMethod criterion="firstHit"/><SimpleRule score="1">{asked}</SimpleRule></RuleSet></RuleSetModel>'
    )
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary><DataField name="t" optype="continuous" dataType="double"/>'
        f'<DataField name="k" optype="ordinal" dataType="{kind}">{values}</DataField></DataDictionary>{model}</PMML>'
    )


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize(
    ("operator", "value", "made"),
    [
        ("lessThan", "medium", [1, 2, 2]), ("lessOrEqual", "medium", [1, 1, 2]), ("greaterThan", "medium", [2, 2, 1]),
        ("greaterOrEqual", "medium", [2, 1, 1]), ("equal", "large", [2, 2, 1]), ("lessThan", "small", [2, 2, 2]), ("lessOrEqual", "large", [1, 1, 1]),
    ],
)  # fmt: skip
def test_texts_compare_by_their_place(operator: str, value: str, made: list[float], tree: bool) -> None:
    found = results(asking(operator, value, tree), [{"k": s} for s in SIZES])
    assert found["predicted_t"] == made


@pytest.mark.parametrize("tree", [True, False])
def test_an_order_that_nobody_declares_is_refused(tree: bool) -> None:
    with pytest.raises(UnprovenModelError, match="'huge', which is none of the field's declared values"):
        read(asking("lessThan", "huge", tree))
    with pytest.raises(UnprovenModelError, match="may hold other values than those declared"):
        read(asking("lessThan", "medium", tree, 'invalidValueTreatment="asIs"'))
    with pytest.raises(UnprovenModelError, match="asks 'lessThan' of a string"):
        read(asking("lessThan", "medium", tree, 'missingValueReplacement="unknown"'))
    with pytest.raises(UnprovenModelError, match="asks 'lessThan' of a string"):
        read(asking("lessThan", "medium", tree, 'optype="categorical"'))
    with pytest.raises(UnprovenModelError, match="in another order than they ascend"):
        read(asking("lessThan", "3", tree, kind="integer", sizes=("1", "3", "2")))
    ascending = asking("lessThan", "3", tree, kind="integer", sizes=("1", "2", "3"))
    assert results(ascending, [{"k": n} for n in (1, 2, 3)])["predicted_t"] == [1, 1, 2]


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize(
    ("operator", "value", "made"),
    [
        ("lessThan", "true", [1, 2]), ("lessOrEqual", "true", [1, 1]), ("greaterThan", "false", [2, 1]),
        ("greaterOrEqual", "true", [2, 1]), ("greaterThan", "true", [2, 2]), ("lessThan", "false", [2, 2]),
        ("lessThan", "0.5", [1, 2]), ("lessOrEqual", "0.5", [1, 2]), ("greaterThan", "0.5", [2, 1]),
        ("greaterOrEqual", "0.5", [2, 1]), ("lessThan", "1.5", [1, 1]), ("greaterThan", "-2", [1, 1]),
    ],
)  # fmt: skip
def test_false_is_before_true(operator: str, value: str, made: list[float], tree: bool) -> None:
    """R's rpart writes logical variables as booleans, and asks whether they are less than 0.5."""
    found = results(
        asking(operator, value, tree, kind="boolean", sizes=()), [{"k": k} for k in (False, True)]
    )
    assert found["predicted_t"] == made
