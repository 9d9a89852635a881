# ruff: noqa: E501 - documents are written in one line
"""Association rules of PMML 4.4 (Association Rules), against a search through the rules one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from schemas.codecs.factory import CodecSpec, make_codec
from schemas.errors import PredictError, UnprovenModelError
from schemas.tensors import LIST, DType, Input
from tests.unit.test_pmml_models import output, read
from udfs.models.runtimes.pmml.runtime import PmmlRuntime
from udfs.models.sandbox.columns import SharedBytes, write
from udfs.models.sandbox.columns import read as read_columns
from udfs.models.smoke_test import generated

ITEMS = ("Cracker", "Water", "Coke", "Nachos")
SETS = {"none": (), "c": (0,), "w": (1,), "k": (2,), "n": (3,), "cw": (0, 1), "kn": (2, 3)}
# Antecedent, consequent, support, confidence, lift, leverage, affinity.
RULES = (
    ("c", "w", 0.4, 0.8, 1.1, 0.02, 0.5),
    ("w", "c", 0.4, 0.6, 1.1, 0.03, 0.4),
    ("cw", "kn", 0.2, 0.8, 1.5, 0.01, 0.3),
    ("none", "n", 0.5, 0.5, 1.0, 0.00, 0.2),
    ("k", "n", 0.3, 0.9, 1.2, 0.05, 0.6),
)
NUMBERS = ("support", "confidence", "lift", "leverage", "affinity")
ALGORITHMS = ("recommendation", "exclusiveRecommendation", "ruleAssociation")
BASKETS = [[i for i, there in zip(ITEMS, there, strict=True) if there] for there in itertools.product((0, 1), repeat=4)]  # fmt: skip
GROUPED = '<MiningField name="id" usageType="group"/><MiningField name="item"/>'
FIELDS = '<DataField name="id" optype="categorical" dataType="string"/><DataField name="item" optype="categorical" dataType="string"/>'


def model(
    fields: str, mining: str = GROUPED, declared: str = FIELDS, items: str = "", ids: bool = False
) -> str:
    items = items or "".join(f'<Item id="{k}" value="{v}"/>' for k, v in enumerate(ITEMS))
    sets = "".join(
        f'<Itemset id="{name}" numberOfItems="{len(refs)}">'
        + "".join(f'<ItemRef itemRef="{ref}"/>' for ref in refs)
        + "</Itemset>"
        for name, refs in SETS.items()
    )
    rules = "".join(
        f'<AssociationRule antecedent="{a}" consequent="{c}" {" ".join(f"{n}={chr(34)}{v}{chr(34)}" for n, v in zip(NUMBERS, values, strict=True))}'
        + (f' id="r{k}"' if ids else "")
        + "/>"
        for k, (a, c, *values) in enumerate(RULES)
    )
    return (
        f'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>{declared}</DataDictionary>'
        '<AssociationModel functionName="associationRules" numberOfTransactions="10" minimumSupport="0.1" minimumConfidence="0.1" '
        f'numberOfItems="4" numberOfItemsets="7" numberOfRules="5"><MiningSchema>{mining}</MiningSchema>{fields}{items}{sets}{rules}</AssociationModel></PMML>'
    )


def selected(basket: list[str], algorithm: str, basis: str, descending: bool) -> list[int]:
    """The rules that apply to a basket, the best first, one after the other."""
    held = {k for k, item in enumerate(ITEMS) if item in basket}
    found = []
    for k, (given, told, *_) in enumerate(RULES):
        if not set(SETS[given]) <= held:
            continue
        both = set(SETS[told]) <= held
        if algorithm == "recommendation" or both == (algorithm == "ruleAssociation"):
            found.append(k)
    at = NUMBERS.index(basis) + 2
    return sorted(found, key=lambda k: RULES[k][at] * (-1 if descending else 1))


def lists(baskets: list[list[str]]) -> np.ndarray:
    column = np.empty(len(baskets), object)
    for k, basket in enumerate(baskets):
        column[k] = np.array(basket, object)
    return column


def given(runtime: PmmlRuntime, baskets: list[list[str]]) -> dict[str, list[Any]]:
    return {name: c.tolist() for name, c in runtime.predict({"item": lists(baskets)}).items()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("basis", NUMBERS)
@pytest.mark.parametrize("ordering", ["descending", "ascending"])
def test_rules_are_selected_and_ranked(algorithm: str, basis: str, ordering: str) -> None:
    asked = output(
        *(f'name="r{k}" feature="ruleId" algorithm="{algorithm}" rankBasis="{basis}" rankOrder="{ordering}" rank="{k}"' for k in range(1, 6))
    )  # fmt: skip
    runtime = read(model(asked))
    assert runtime.inputs == (Input("item", DType.TEXT, LIST, ("item",)),)
    found = given(runtime, BASKETS)
    for k, basket in enumerate(BASKETS):
        said = [str(r + 1) for r in selected(basket, algorithm, basis, ordering == "descending")]
        assert [found[f"r{rank}"][k] for rank in range(1, 6)] == (said + [""] * 5)[:5]


def test_every_feature_of_a_rule() -> None:
    features = ("antecedent", "consequent", "rule", "ruleId", "entityId", *NUMBERS)
    best = 'algorithm="exclusiveRecommendation" rankBasis="lift"'
    asked = output(
        *(f'name="{f}" feature="{f}" {best}' for f in features),
        *(
            f'name="old_{f}" feature="ruleValue" ruleFeature="{f}" {best}'
            for f in features
            if f != "entityId"
        ),
        f'name="old" feature="ruleValue" {best}',
    )
    found = given(read(model(asked, ids=True)), [["Cracker", "Water", "Bread"]])
    said = {"antecedent": "Cracker,Water", "consequent": "Coke,Nachos", "rule": "{Cracker,Water}->{Coke,Nachos}",
            "ruleId": "r2", "entityId": "r2", **dict(zip(NUMBERS, RULES[2][2:], strict=True))}  # fmt: skip
    assert {f: found[f][0] for f in features} == said
    assert all(found[f"old_{f}"][0] == said[f] for f in features if f != "entityId")
    assert found["old"] == ["Coke,Nachos"]


def test_where_no_rule_applies_a_text_is_empty_and_a_number_has_no_result() -> None:
    asked = output('name="c" feature="consequent" rankBasis="lift" rank="2"', 'name="n" feature="lift" rankBasis="lift" rank="2"')  # fmt: skip
    assert given(read(model(asked.replace('<OutputField name="n" feature="lift" rankBasis="lift" rank="2"/>', ""))), [[], ["Cracker"]]) == {"c": ["", "Nachos"]}  # fmt: skip
    with pytest.raises(PredictError, match=r"no 'n' in rows 0$"):
        given(read(model(asked)), [[], ["Cracker"]])


def test_items_come_as_fields_that_say_whether_they_are_there_or_are_a_category() -> None:
    declared = (
        '<DataField name="Cracker" optype="categorical" dataType="boolean"/><DataField name="Water" optype="categorical" dataType="string"/>'
        '<DataField name="Coke" optype="continuous" dataType="integer"/><DataField name="food" optype="categorical" dataType="string"/>'
    )
    mining = "".join(f'<MiningField name="{n}"/>' for n in ("Cracker", "Water", "Coke", "food"))
    asked = output('name="r" feature="ruleId" algorithm="recommendation" rankBasis="lift"')
    last = (
        '<Item id="3" value="food=Nachos"/>',
        '<Item id="3" value="Nachos" field="food" category="Nachos"/>',
    )
    for item in last:
        items = "".join(f'<Item id="{k}" value="{v}"/>' for k, v in enumerate(ITEMS[:3])) + item
        runtime = read(model(asked, mining, declared, items))
        columns: dict[str, Any] = {
            "Cracker": [i for i in BASKETS for i in [("Cracker" in i)]],
            "Water": ["T" if "Water" in b else "F" for b in BASKETS],
            "Coke": [int("Coke" in b) for b in BASKETS],
            "food": ["Nachos" if "Nachos" in b else "Pear" for b in BASKETS],
        }
        arrays = {n: np.array(v, object if n in ("Water", "food") else None) for n, v in columns.items()}
        said = [str(selected(b, "recommendation", "lift", True)[0] + 1) for b in BASKETS]
        assert runtime.predict(arrays)["r"].tolist() == said
        lacking = {n: np.array([None], object) for n in columns}  # nothing is there
        assert runtime.predict(lacking)["r"].tolist() == ["4"]
        with pytest.raises(PredictError, match="'Water' does not say whether"):
            runtime.predict({**{n: a[:1] for n, a in arrays.items()}, "Water": np.array(["maybe"], object)})
        sample = runtime.sample(8)
        assert sample is not None and len(runtime.predict(sample)["r"]) == 8


def test_a_list_of_items_is_read_from_records_tried_and_kept_apart() -> None:
    runtime = read(model(output('name="r" feature="consequent"')))
    decoded = make_codec(CodecSpec()).decode(
        [b'{"item": ["Coke"]}', b'{"item": "Coke"}', b'{"item": []}', b"{}"], runtime.inputs
    )
    assert [bad.row for bad in decoded.bad] == [1, 3]
    assert runtime.predict(decoded.columns)["r"].tolist() == ["Nachos", "Nachos"]
    sample = runtime.sample(20)
    assert sample is not None and {i for one in sample["item"] for i in one} == set(ITEMS)
    assert set(runtime.valid_values["item"]) == set(ITEMS)
    tried = generated(runtime.inputs, 5, runtime.valid_values)
    assert len(runtime.predict(tried)["r"]) == 5
    shared = SharedBytes(1 << 16)
    layout = write({"item": lists(BASKETS)}, shared)
    assert given(runtime, [list(b) for b in read_columns(layout, shared)["item"]]) == given(runtime, BASKETS)
    shared.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('feature="ruleId"', 'feature="predictedValue"', "'predictedValue' of OutputField 'r' is none of a rule"),
        ('feature="ruleId"', 'feature="ruleId" isMultiValued="1"', "has many values"),
        ('feature="ruleId"', 'feature="ruleId" rank="0"', "rule of rank 0"),
        ('feature="ruleId"', 'feature="ruleId" algorithm="best"', "algorithm='best'"),
        ("<OutputField", "<!-- <OutputField", "declares no output"),
        (' lift="1.0"', "", "lacks lift"),
        ('antecedent="c" ', 'antecedent="z" ', "an itemset that is not listed"),
        ('itemRef="1"', 'itemRef="9"', "holds an item that is not listed"),
        ('id="1" value', 'id="0" value', "two items have one id"),
        ('value="Water"', 'value="Coke"', "two items have one value"),
        ('value="Water"', 'value="Wa,ter"', "holds a comma"),
        ('value="Water"', 'value="Water" mappedValue="drink"', "'mappedValue'"),
        ('value="Water"', 'value="Water" field="id"', "another field than the list"),
        ('<MiningField name="item"/>', "", "1 fields that group and 0 that are items"),
        ('name="item"/>', 'name="item" invalidValueTreatment="asIs"/>', "says which of them are valid"),
        ('name="item" optype="categorical" dataType="string"', 'name="item" optype="categorical" dataType="integer"', "is not of texts"),
        ('usageType="group"', 'usageType="target"', "has a target"),
        (' usageType="group"', "", "neither a field nor a category"),
        ("</MiningSchema>", "</MiningSchema><Targets/>", "has a target"),
        ("</MiningSchema>", '</MiningSchema><LocalTransformations><DerivedField name="d" optype="categorical" dataType="string"><FieldRef field="item"/></DerivedField></LocalTransformations>', ""),
        ("</AssociationModel>", "<ModelVerification><VerificationFields/><InlineTable><row><a>1</a></row></InlineTable></ModelVerification></AssociationModel>", "reads a list"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(old: str, new: str, said: str) -> None:
    asked = output('name="r" feature="ruleId" rankBasis="lift"')
    if "comma" in said:
        asked = output('name="r" feature="rule"')
    text = model(asked)
    assert old in text
    text = text.replace(old, new)
    if "<!--" in new:
        text = text.replace("</Output>", " --></Output>")
    if said:
        with pytest.raises(UnprovenModelError, match=said):
            read(text)
        return
    # A derived field that reads the list is refused where anything asks for it.
    with pytest.raises(UnprovenModelError, match="'item' is read and not defined"):
        read(text.replace("</Output>", '<OutputField name="o" feature="transformedValue" dataType="string"><FieldRef field="d"/></OutputField></Output>'))  # fmt: skip


def test_rules_inside_another_model_are_refused() -> None:
    text = model(output('name="r" feature="ruleId"'))
    start, end = text.index("<AssociationModel"), text.index("</PMML>")
    outer = (
        f'<MiningModel functionName="regression"><MiningSchema>{GROUPED}</MiningSchema><Segmentation multipleModelMethod="modelChain">'
        f"<Segment><True/>{text[start:end]}</Segment></Segmentation></MiningModel>"
    )
    with pytest.raises(UnprovenModelError, match="inside another model"):
        read(text[:start] + outer + text[end:])
