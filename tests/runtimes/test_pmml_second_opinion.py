"""pypmml beside the compiler: where both are right they agree, where it is wrong the row is named."""

from pathlib import Path
from typing import Literal

import pytest

from tests.pmml_documents import OUTPUT, Leaf, Split, document, less, schema, tree
from tests.unit import test_pmml_association as association
from tests.unit import test_pmml_general_regression as general
from tests.unit import test_pmml_measures as measures
from tests.unit.test_pmml_models import output
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load
from udfs.models.runtimes.pmml.second_opinion import Opinion, second_opinion, sentences
from udfs.models.sandbox.loader import Isolation, SandboxedLoader
from udfs.models.smoke_test import smoke_columns

FULL = [("a", 5), ("b", 3), ("c", 2)]
FLOAT = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pmml" / "min.float_field" / "model.pmml"
)


OTHER = [("a", 1), ("b", 7), ("c", 2)]


def opinion_of(data: bytes, rows: list[bytes] | None = None) -> Opinion:
    runtime = load(Artifact(data, None, Path()), WantedSignature())
    return second_opinion(runtime, data, smoke_columns(runtime.inputs, rows) if rows else None)


def test_both_agree_on_a_tree() -> None:
    text = document(
        tree(Split([(p, Leaf(c)) for p, c in zip(less("x", 0.5), (FULL, OTHER), strict=True)]), output=OUTPUT)
    )
    opinion = opinion_of(text.encode())
    assert opinion.differences == () and opinion.compared[:3] == ("pa", "pb", "pc")
    assert sentences(opinion)[0].startswith("pypmml agrees on 64 rows (pa, pb, pc")


# By loglog pypmml gives probabilities below 0: its cumulative link falls where the standard's rises.
@pytest.mark.parametrize("link", [name for name in general.LINKS if name != "loglog"])
def test_both_agree_on_ordered_categories(link: str) -> None:
    text = document(general.model(f'{general.ORDINAL} cumulativeLink="{link}"', general.STEPS))
    opinion = opinion_of(text.encode())
    assert opinion.differences == () and "probability_b" in opinion.compared


@pytest.mark.parametrize(
    "link",
    [
        'linkFunction="logc"',
        'linkFunction="negbin" distParameter="2"',
        'linkFunction="oddspower" linkParameter="-0.5"',
        'linkFunction="logit" trialsValue="20"',
    ],
)
def test_both_agree_on_links_and_trials(link: str) -> None:
    betas = general.cells(("", "p0", -4.0), ("", "p1", 0.25))
    kind = 'functionName="regression" modelType="generalizedLinear"'
    text = document(general.model(f"{kind} {link}", betas), numeric=True)
    rows = [f'{{"x": {x}, "y": 0, "k": "red"}}'.encode() for x in (-3, 0.5, 2, 9)]
    opinion = opinion_of(text.encode(), rows)
    assert opinion.differences == () and opinion.compared == ("predicted_t",)


@pytest.mark.parametrize("measure", ["<simpleMatching/>", "<jaccard/>", "<tanimoto/>", measures.BINARY])
def test_both_agree_on_similarities(measure: str) -> None:
    opinion = opinion_of(measures.clusters(measure).encode())
    assert opinion.differences == () and set(opinion.compared) == {"aA", "aB", "aC", "c"}


def test_there_is_no_second_opinion_on_a_list_of_items() -> None:
    opinion = opinion_of(association.model(output('name="r" feature="ruleId"')).encode())
    assert sentences(opinion) == ["no second opinion: pypmml takes no lists"]


def at_a_tenth() -> tuple[bytes, list[bytes]]:
    """A tree that parts a float field at 0.1, which pypmml compares as a double, and rows around it."""
    dictionary = '<DataField name="x" optype="continuous" dataType="double"/>'
    text = document(
        tree(Split([(p, Leaf(c)) for p, c in zip(less("x", 0.1), (FULL, OTHER), strict=True)]), output=OUTPUT)
    )
    text = text.replace(dictionary, dictionary.replace("double", "float"))
    rows = [b'{"x": 0.1, "y": 0, "k": "red"}', b'{"x": 0.10000000149011612, "y": 0, "k": "red"}']
    return text.encode(), rows


def test_what_differs_is_named_with_its_row() -> None:
    opinion = opinion_of(*at_a_tenth())
    assert opinion.rows == 2
    assert {d.partition(":")[0] for d in opinion.differences} == {"row 2"}


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_job_that_wants_one_has_it_when_it_loads(mode: Literal["thread", "process"]) -> None:
    data, rows = at_a_tenth()
    policy = LoadPolicy(second_opinion=True, warm_up_batches=(1,))
    loader = SandboxedLoader(lambda _: policy, Isolation(mode), 5.0)
    try:
        for given, said in ((rows, "row 2: pa is"), ([], "pypmml agrees on 64 rows")):
            model = loader.load(parse(build(data_type="t", model_type="PMML", data=data, smoke_rows=given)))
            assert model.load_report.notes[0].startswith(said)
            model.close()
    finally:
        loader.close()


def test_a_document_that_the_other_does_not_take_has_no_second_opinion() -> None:
    model = (
        f'<RuleSetModel functionName="classification">{schema()}<RuleSet defaultScore="a">'
        '<RuleSelectionMethod criterion="firstHit"/><SimpleRule score="b"><False/></SimpleRule></RuleSet>'
        "</RuleSetModel>"
    )
    opinion = opinion_of(document(model).encode())
    assert opinion.compared == () or opinion.differences == ()
    assert sentences(opinion)


@pytest.mark.skipif(not FLOAT.is_file(), reason="the shared exports are not beside the checkout")
def test_the_smallest_wrong_file_is_told() -> None:
    rows = [b'{"x": 0.1}', b'{"x": 0.10000000149011612}', b'{"x": 0.2}']
    opinion = opinion_of(FLOAT.read_bytes(), rows)
    assert [d.partition(":")[0] for d in opinion.differences] == ["row 2"]
