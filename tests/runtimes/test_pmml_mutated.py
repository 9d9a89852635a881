"""Documents that were damaged get an error or an answer: no crash, no surprise, nothing without end."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from schemas.errors import ModelError
from tests.pmml_documents import LABEL, OUTPUT, Leaf, Split, among, document, ensemble, less, schema, tree
from tests.unit import test_pmml_association as association
from tests.unit import test_pmml_general_regression as general
from tests.unit import test_pmml_measures as measures
from tests.unit import test_pmml_rule_sets as rule_sets
from tests.unit.test_pmml_models import output
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load

EXPORTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pmml"
FULL = [("a", 5), ("b", 3), ("c", 2)]
ODD = (
    "", "0", "-1", "1e400", "NaN", "inf", "9" * 400, "x", "true", "average", "sum", "modelChain",
    "selectFirst", "regression", "classification", "double", "float", "integer", "boolean", "string", "date",
    "active", "target",
    "isMissing", "isIn", "1e-300", "é", " ", "%", "[", "(a+)+$",
)  # fmt: skip
MUTATIONS = 12


def made() -> dict[str, bytes]:
    """Small documents of our own, so that there is something to damage on every machine."""
    split = Split([(p, Leaf(FULL)) for p in less("x", 0.5)])
    sets = Split([(p, Leaf(FULL[:2])) for p in among(["red"])])
    table = "".join(
        f'<RegressionTable intercept="{k}" targetCategory="{c}"><NumericPredictor name="x" coefficient="1"/>'
        f'<CategoricalPredictor name="k" value="red" coefficient="{k}"/></RegressionTable>'
        for k, c in enumerate("abc")
    )
    regression = (
        f'<RegressionModel functionName="classification" normalizationMethod="softmax">{schema()}{OUTPUT}'
        f"{table}</RegressionModel>"
    )
    hazards = (
        f'<BaseCumHazardTables><BaselineStratum value="red" maxTime="9">{general.steps((1, 0.2), (7, 0.6))}'
        "</BaselineStratum></BaseCumHazardTables>"
    )
    table = (
        '<ClusteringField field="x" compareFunction="table"><Comparisons><Matrix nbRows="1" nbCols="1">'
        '<Array>0.5</Array></Matrix></Comparisons></ClusteringField><ClusteringField field="y"/>'
        '<ClusteringField field="z" compareFunction="gaussSim" similarityScale="2"/>'
    )
    number = '<DataField name="x" optype="continuous" dataType="double"'
    asked = output(
        'name="c" feature="consequent" rankBasis="lift" algorithm="recommendation"', 'name="r" feature="rule"'
    )
    flags = (
        "".join(
            f'<DataField name="{n}" optype="categorical" dataType="boolean"/>' for n in association.ITEMS
        ),
        "".join(f'<MiningField name="{n}"/>' for n in association.ITEMS),
    )
    texts = {
        "ordinal": document(
            general.model(f'{general.ORDINAL} cumulativeLink="logit" offsetVariable="y"', general.STEPS)
        ),
        "survival": document(
            general.model(f'{general.COX} baselineStrataVariable="k"', general.SLOPES, extra=hazards),
            numeric=True,
        ),
        "contrasts": document(
            general.model(
                'functionName="regression" modelType="generalizedLinear" linkFunction="negbin" '
                'distParameter="2" trialsValue="3"',
                general.SLOPES,
                general.CONTRASTS,
            ),
            numeric=True,
        ),
        "sparse contrasts": document(
            general.model(
                general.LINEAR,
                general.SLOPES,
                f'<Predictor name="k">{general.SPARSE}</Predictor>',
            ),
            numeric=True,
        ),
        "rules": document(rule_sets.rule_set("weightedMax", rule_sets.STANDARD, told=rule_sets.told())),
        "rules that vote": document(
            ensemble(
                [rule_sets.rule_set(c, rule_sets.STANDARD, target=False) for c in rule_sets.CRITERIA],
                "majorityVote",
            )
        ),
        "similarities": measures.clusters(measures.BINARY),
        "tables": measures.clusters("<cityBlock/>", "distance", table)
        .replace("1 0 0", "1 1 1")
        .replace("0 1 1", "1 1 1")
        .replace(f"{number}/>", f'{number}><Value value="1"/></DataField>'),
        "neighbours": measures.neighbours('categoricalScoringMethod="weightedMajorityVote"', False),
        "means": measures.neighbours('continuousScoringMethod="weightedAverage" threshold="0.5"', True),
        "rounding": measures.machines('alternateBinaryTargetCategory="c"', "a"),
        "rules of a list": association.model(asked),
        "rules of fields": association.model(asked, flags[1], flags[0]),
        "tree": document(tree(split, output=OUTPUT)),
        "forest": document(ensemble([tree(split), tree(sets)], "average", output=OUTPUT)),
        "votes": document(
            ensemble([tree(split), tree(sets)], "majorityVote", output=f"<Output>{LABEL}</Output>")
        ),
        "regression": document(regression),
    }
    return {name: text.encode() for name, text in texts.items()}


def documents() -> dict[str, bytes]:
    found = {p.parent.name: p.read_bytes() for p in sorted(EXPORTS.glob("*/model.pmml"))}
    return {**made(), **{name: data for name, data in found.items() if len(data) < 100_000}}


DOCUMENTS = documents()


def mutated(data: bytes, seed: int) -> bytes:
    """The document with one to four elements or attributes changed."""
    rng = random.Random(seed)
    root = ET.fromstring(data)
    for _ in range(rng.randint(1, 4)):
        elements = list(root.iter())
        element = rng.choice(elements)
        kind = rng.randrange(7)
        if kind <= 2 and element.attrib:
            name = rng.choice(sorted(element.attrib))
            other = rng.choice(elements)
            pool = list(other.attrib.values()) if rng.random() < 0.4 else []
            element.set(name, rng.choice([*pool, rng.choice(ODD)]))
        elif kind == 3 and element.attrib:
            del element.attrib[rng.choice(sorted(element.attrib))]
        elif kind == 4 and len(element):
            element.remove(rng.choice(list(element)))
        elif kind == 5 and len(element):
            child = rng.choice(list(element))
            element.insert(rng.randrange(len(element) + 1), child)
        elif kind == 6:
            element.text = rng.choice(ODD)
        else:
            element.set(rng.choice(sorted(rng.choice(elements).attrib) or ["id"]), rng.choice(ODD))
    return ET.tostring(root)


def outcome(data: bytes) -> str:
    """What became of a document: the name of the error, or `answer`. Anything else goes through."""
    try:
        runtime = load(Artifact(data, None, Path()), WantedSignature())
        sample = runtime.sample(16)
        assert sample is not None
        runtime.predict(sample)
    except ModelError as e:
        return type(e).__name__
    return "answer"


@pytest.mark.parametrize("name", made())
def test_a_document_of_our_own_that_is_whole_gets_an_answer(name: str) -> None:
    assert outcome(DOCUMENTS[name]) == "answer"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_damaged_document_gets_an_error_or_an_answer(name: str) -> None:
    found = {outcome(mutated(DOCUMENTS[name], seed)) for seed in range(MUTATIONS)}
    assert found <= {"answer", "PredictError", "UnprovenModelError", "LoadError", "InputsError"}
