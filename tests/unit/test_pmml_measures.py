# ruff: noqa: E501 - documents are written in one line
"""Measures of clusters and neighbours, weighted votes and support vector machines that round (PMML 4.4)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import document, schema
from tests.unit.test_pmml_dialects import written_by
from tests.unit.test_pmml_models import expected, output, read, results

BITS = [dict(zip("xyz", bits, strict=True)) for bits in itertools.product((0.0, 1.0), repeat=3)]
POINTS = {"A": (1, 0, 0), "B": (0, 1, 1), "C": (1, 1, 0)}
BINARY = (
    '<binarySimilarity c11-parameter="2" c10-parameter="0.5" c01-parameter="0" c00-parameter="1" '
    'd11-parameter="3" d10-parameter="1" d01-parameter="2" d00-parameter="1.5"/>'
)


def similarity(name: str, row: dict[str, float], point: tuple[int, ...]) -> float:
    pairs = list(zip(row.values(), point, strict=True))
    a11, a10, a01, a00 = (pairs.count(p) for p in ((1, 1), (1, 0), (0, 1), (0, 0)))
    if "simpleMatching" in name:
        return (a11 + a00) / len(pairs)
    if "jaccard" in name:
        return a11 / (a11 + a10 + a01)
    if "tanimoto" in name:
        return (a11 + a00) / (a11 + 2 * (a10 + a01) + a00)
    return (2 * a11 + 0.5 * a10 + a00) / (3 * a11 + a10 + 2 * a01 + 1.5 * a00)


def three(model: str, numeric: bool = False) -> str:
    """A document with one number more."""
    text = document(model, numeric).replace(
        '<DataField name="y"',
        '<DataField name="z" optype="continuous" dataType="double"/><DataField name="y"',
    )
    return text.replace('<MiningField name="y"/>', '<MiningField name="y"/><MiningField name="z"/>')


def clusters(measure: str, kind: str = "similarity", fields: str = "") -> str:
    fields = fields or "".join(f'<ClusteringField field="{f}"/>' for f in "xyz")
    asked = output(
        *(f'name="a{n}" feature="affinity" value="{n}" dataType="double"' for n in POINTS),
        'name="c" feature="predictedValue" dataType="string"',
    )
    centers = "".join(
        f'<Cluster id="{n}"><Array type="real">{" ".join(map(str, p))}</Array></Cluster>'
        for n, p in POINTS.items()
    )
    return three(
        f'<ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="3">{schema(False)}{asked}'
        f'<ComparisonMeasure kind="{kind}">{measure}</ComparisonMeasure>{fields}{centers}</ClusteringModel>'
    )


@pytest.mark.parametrize("measure", ["<simpleMatching/>", "<jaccard/>", "<tanimoto/>", BINARY])
def test_clusters_by_similarity(measure: str) -> None:
    rows = [{**row, "k": "red"} for row in BITS]
    found = results(clusters(measure), rows)
    for k, row in enumerate(BITS):
        said = {n: similarity(measure, row, p) for n, p in POINTS.items()}
        assert {n: found[f"a{n}"][k] for n in POINTS} == pytest.approx(said, abs=1e-12)
        assert found["c"][k] == max(said, key=said.__getitem__)


def test_a_cluster_is_predicted_by_its_id_and_shown_by_its_name() -> None:
    """Without an id its name is predicted, as KNIME, R and SPSS call it; without both its number from 1."""
    text = clusters("<euclidean/>", "distance").replace('<Cluster id="A">', '<Cluster id="A" name="first">')
    text = text.replace('<Cluster id="B">', '<Cluster name="second">').replace(
        '<Cluster id="C">', "<Cluster>"
    )
    text = text.replace('value="B"', 'value="2"').replace('value="C"', 'value="3"')
    text = text.replace("</Output>", '<OutputField name="shown" feature="predictedDisplayValue"/></Output>')
    found = results(text, [dict(zip("xyz", map(float, point), strict=True)) for point in POINTS.values()])
    assert found["c"] == ["A", "second", "3"]
    assert found["shown"] == ["first", "second", "3"]


def test_a_similarity_counts_pairs_whatever_fields_weigh() -> None:
    """The standard's sums of similarities have no weights of fields; those of distances do."""
    fields = "".join(
        f'<ClusteringField field="{f}" fieldWeight="{w}"/>' for f, w in zip("xyz", (5, 1, 2), strict=True)
    )
    rows = [{**row, "k": "red"} for row in BITS]
    assert results(clusters("<jaccard/>", fields=fields), rows) == results(clusters("<jaccard/>"), rows)


def test_neighbours_without_a_target_are_told_by_their_ids() -> None:
    """As sklearn2pmml writes NearestNeighbors: the result is the nearest row."""
    cells = "".join(f"<row><id>{i}</id><x>{x}</x></row>" for i, x in (("p", 0), ("q", 4), ("r", 10)))
    asked = output(
        'name="first" feature="entityId" rank="1" dataType="string"',
        'name="second" feature="entityId" rank="2" dataType="string"',
        'name="far" feature="affinity" rank="2" dataType="double"',
    )
    text = document(
        f'<NearestNeighborModel functionName="clustering" numberOfNeighbors="2" instanceIdVariable="id">{schema(False)}{asked}'
        '<TrainingInstances><InstanceFields><InstanceField field="id" column="id"/><InstanceField field="x" column="x"/></InstanceFields>'
        f'<InlineTable>{cells}</InlineTable></TrainingInstances><ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
        '<KNNInputs><KNNInput field="x"/></KNNInputs></NearestNeighborModel>'
    )
    found = results(text, [{"x": x, "y": 0.0, "k": "red"} for x in (1.0, 6.5)])
    assert (found["first"], found["second"]) == (["p", "q"], ["q", "r"])
    assert found["far"] == [3.0, 3.5]
    assert found["predictedValue"] == ["p", "q"]


def test_a_similarity_is_of_zeros_and_ones() -> None:
    good = {"x": 1.0, "y": 0.0, "z": 1.0, "k": "red"}
    with pytest.raises(PredictError, match=r"'y' is neither 0 nor 1.*rows 1$"):
        results(clusters("<jaccard/>"), [good, {**good, "y": 0.5}])
    assert not any(i.optional for i in read(clusters("<jaccard/>")).inputs)
    with pytest.raises(UnprovenModelError, match="neither 0 nor 1"):
        read(clusters("<jaccard/>").replace("1 0 0", "2 0 0"))
    with pytest.raises(UnprovenModelError, match="kind='distance'"):
        read(clusters("<jaccard/>", "distance"))
    with pytest.raises(UnprovenModelError, match="kind='similarity'"):
        read(clusters("<euclidean/>", "similarity"))
    with pytest.raises(UnprovenModelError, match="lacks c11-parameter"):
        read(clusters("<binarySimilarity/>"))


def test_a_row_that_has_nothing_to_compare_has_no_similarity() -> None:
    text = clusters("<jaccard/>").replace("1 0 0", "0 0 0")
    with pytest.raises(PredictError, match=r"rows 0$"):
        results(text, [{**row, "k": "red"} for row in BITS])


@pytest.mark.parametrize(
    ("attributes", "inner", "far"),
    [
        ("", "", lambda a, b: abs(a - b)),
        ('compareFunction="delta"', "", lambda a, b: a != b),
        ('compareFunction="equal"', "", lambda a, b: a == b),
        (
            'compareFunction="gaussSim" similarityScale="2"',
            "",
            lambda a, b: math.exp(-math.log(2) * (a - b) ** 2 / 4),
        ),
        (
            'compareFunction="table"',
            '<Comparisons><Matrix nbRows="2" nbCols="2"><Array>0 0.25</Array><Array>0.75 0.5</Array></Matrix></Comparisons>',
            # The values are declared as 1 and 0, in this order.
            lambda a, b: {(1, 1): 0, (1, 0): 0.25, (0, 1): 0.75, (0, 0): 0.5}[a, b],
        ),
    ],
)
def test_each_way_of_comparing_a_field(attributes: str, inner: str, far: Any) -> None:
    fields = f'<ClusteringField field="x" fieldWeight="3" {attributes}>{inner}</ClusteringField><ClusteringField field="y"/><ClusteringField field="z"/>'
    text = clusters("<euclidean/>", "distance", fields)
    if inner:
        declared = '<DataField name="x" optype="continuous" dataType="double"'
        text = text.replace(f"{declared}/>", f'{declared}><Value value="1"/><Value value="0"/></DataField>')
    found = results(text, [{**row, "k": "red"} for row in BITS])
    for k, row in enumerate(BITS):
        for n, (px, py, pz) in POINTS.items():
            total = 3 * far(row["x"], px) ** 2 + (row["y"] - py) ** 2 + (row["z"] - pz) ** 2
            assert found[f"a{n}"][k] == pytest.approx(math.sqrt(total), abs=1e-12)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ('compareFunction="gaussSim"', "lacks similarityScale"),
        ('compareFunction="gaussSim" similarityScale="0"', "similarityScale of 0"),
        ('compareFunction="table"', "no Comparisons/Matrix"),
        ('compareFunction="cosine"', "'cosine'"),
    ],
)
def test_a_comparison_that_is_not_whole_is_refused(attributes: str, said: str) -> None:
    fields = (
        f'<ClusteringField field="x" {attributes}/><ClusteringField field="y"/><ClusteringField field="z"/>'
    )
    with pytest.raises(UnprovenModelError, match=said):
        read(clusters("<euclidean/>", "distance", fields))


TRAINING = ((1.0, "red", "a", 10.0), (2.0, "blue", "b", 20.0), (4.0, "red", "b", 40.0), (8.0, "green", "c", 80.0))  # fmt: skip


def neighbours(attributes: str, numeric: bool, count: int = 3, training: Any = TRAINING,
               measure: str = '<ComparisonMeasure kind="distance"><cityBlock/></ComparisonMeasure>') -> str:  # fmt: skip
    function = "regression" if numeric else "classification"
    rows = "".join(f"<row><x>{x}</x><k>{k}</k><t>{n if numeric else c}</t></row>" for x, k, c, n in training)
    fields = "".join(f'<InstanceField field="{f}" column="{f}"/>' for f in "xkt")
    return document(
        f'<NearestNeighborModel functionName="{function}" numberOfNeighbors="{count}" {attributes}>{schema()}'
        f"<TrainingInstances><InstanceFields>{fields}</InstanceFields><InlineTable>{rows}</InlineTable></TrainingInstances>{measure}"
        '<KNNInputs><KNNInput field="x"/><KNNInput field="k" compareFunction="delta" fieldWeight="0.5"/></KNNInputs></NearestNeighborModel>',
        numeric,
    )


ASKED = [{"x": x, "y": 0.0, "k": k} for x, k in ((1.0, "red"), (3.0, "blue"), (3.0, "green"), (100.0, "red"))]


def ranked(row: dict[str, Any], threshold: float, count: int = 3) -> list[tuple[float, str, float]]:
    """Weight, category and number of the nearest rows."""
    found = [(abs(x - row["x"]) + 0.5 * (k != row["k"]), c, n) for x, k, c, n in TRAINING]
    return [(1 / (d + threshold), c, n) for d, c, n in sorted(found, key=lambda one: one[0])[:count]]


@pytest.mark.parametrize(("threshold", "used"), [("", 0.001), ('threshold="0.5"', 0.5)])
def test_neighbours_count_by_the_inverse_of_their_distance(threshold: str, used: float) -> None:
    numbers = neighbours(f'continuousScoringMethod="weightedAverage" {threshold}', True)
    votes = neighbours(f'categoricalScoringMethod="weightedMajorityVote" {threshold}', False)
    found = results(votes, ASKED)
    means = []
    for k, row in enumerate(ASKED):
        near = ranked(row, used)
        total = sum(w for w, _, _ in near)
        means.append(sum(w * n for w, _, n in near) / total)
        shares = {c: sum(w for w, one, _ in near if one == c) / total for c in "abc"}
        assert {c: found[f"probability_{c}"][k] for c in "abc"} == pytest.approx(shares)
        assert found["predicted_t"][k] == max(shares, key=shares.__getitem__)
    expected(numbers, "predicted_t", means, ASKED)


def test_neighbours_and_clusters_are_told_by_rank() -> None:
    """With their distance, as far as there are some; of equals the earlier one first."""
    fields = [
        f'name="{n}{r}" feature="{f}" rank="{r}"'
        for n, f in (("e", "entityId"), ("a", "affinity"))
        for r in (1, 2, 3)
    ]
    near = neighbours("", False).replace("<TrainingInstances>", f"{output(*fields)}<TrainingInstances>")
    found = results(near, ASKED)
    for k, row in enumerate(ASKED):
        gaps = [abs(x - row["x"]) + 0.5 * (c != row["k"]) for x, c, _, _ in TRAINING]
        order = sorted(range(len(gaps)), key=gaps.__getitem__)
        for rank in (1, 2, 3):
            assert found[f"e{rank}"][k] == str(order[rank - 1] + 1)
            assert found[f"a{rank}"][k] == pytest.approx(gaps[order[rank - 1]])
    text = clusters("<cityBlock/>", "distance")
    text = text.replace(
        "<Output>", "<Output>" + output(*fields).removeprefix("<Output>").removesuffix("</Output>")
    )
    rows = [{**row, "k": "red"} for row in BITS]
    found = results(text, rows)
    for k, row in enumerate(BITS):
        distances = {
            n: sum(abs(row[f] - p) for f, p in zip("xyz", point, strict=True)) for n, point in POINTS.items()
        }
        order = sorted(distances, key=distances.__getitem__)
        assert [found[f"e{r}"][k] for r in (1, 2, 3)] == order
        assert [found[f"a{r}"][k] for r in (1, 2, 3)] == pytest.approx([distances[n] for n in order])
    for odd in ('feature="entityId" rank="4"', 'feature="affinity" rank="4"', 'feature="affinity" rank="0"',
                'feature="affinity" rank="2" value="A"', 'feature="clusterAffinity" rank="2"', 'feature="clusterId" rank="2"'):  # fmt: skip
        with pytest.raises(UnprovenModelError, match=r"rank|affinity to"):
            read(text.replace("<Output>", f'<Output><OutputField name="odd" {odd}/>'))


def test_without_a_threshold_neighbours_at_no_distance_have_all_the_weight() -> None:
    """As in scikit-learn, whose weights='distance' is exported so."""
    numbers = neighbours('continuousScoringMethod="weightedAverage" threshold="0"', True)
    votes = neighbours('categoricalScoringMethod="weightedMajorityVote" threshold="0.0"', False)
    rows = [{"x": 1.0, "y": 0.0, "k": "red"}, {"x": 3.0, "y": 0.0, "k": "red"}]
    found = results(votes, rows)
    near = ranked(rows[1], 0)
    total = sum(w for w, _, _ in near)
    expected(numbers, "predicted_t", [10.0, sum(w * n for w, _, n in near) / total], rows)
    assert [found[f"probability_{c}"][0] for c in "abc"] == [1.0, 0.0, 0.0]
    assert found["probability_b"][1] == pytest.approx(sum(w for w, c, _ in near if c == "b") / total)
    read(neighbours('threshold="-1"', True))  # which plays no part in a mean


def test_of_categories_with_equal_votes_the_more_frequent_wins_then_the_first_by_its_text() -> None:
    training = ((1.0, "red", "c", 0.0), (1.0, "red", "b", 0.0), (50.0, "red", "c", 0.0), (60.0, "red", "a", 0.0))  # fmt: skip
    text = neighbours("", False, 2, training)
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (1.0, 55.0)]
    assert results(text, rows)["predicted_t"] == ["c", "c"]
    even = neighbours("", False, 2, training[:2])
    assert results(even, rows)["predicted_t"] == ["b", "b"]
    sorts = written_by("JPMML-SkLearn library", text)
    assert results(sorts, rows)["predicted_t"] == ["b", "a"]


def test_neighbours_that_the_standard_does_not_say_how_to_count_are_refused() -> None:
    with pytest.raises(UnprovenModelError, match="below 0"):
        read(neighbours('continuousScoringMethod="weightedAverage" threshold="-1"', True))
    with pytest.raises(UnprovenModelError, match="more is asked than if it is equal"):
        read(neighbours("", True).replace(' compareFunction="delta"', ""))
    training = ((0.0, "red", "a", 1.0), (1.0, "red", "b", 2.0), (1.0, "red", "c", 4.0))
    similar = '<ComparisonMeasure kind="similarity"><jaccard/></ComparisonMeasure>'
    text = neighbours('continuousScoringMethod="weightedAverage"', True, 1, training, similar)
    with pytest.raises(UnprovenModelError, match="weights of distances only"):
        read(text.replace('<KNNInput field="k" compareFunction="delta" fieldWeight="0.5"/>', ""))


def test_neighbours_at_a_distance_below_0_have_no_weight() -> None:
    """A table may say what is no distance; the inverse of one below 0 would count against its category."""
    table = '<Comparisons><Matrix nbRows="2" nbCols="2"><Array>0 -0.5</Array><Array>1 0</Array></Matrix></Comparisons>'
    training = ((0.0, "red", "a", 1.0), (1.0, "red", "b", 2.0))
    text = neighbours('categoricalScoringMethod="weightedMajorityVote"', False, 2, training).replace(
        '<KNNInput field="x"/>', f'<KNNInput field="x" compareFunction="table">{table}</KNNInput>'
    )
    number = '<DataField name="x" optype="continuous" dataType="double"'
    text = text.replace(f"{number}/>", f'{number}><Value value="0"/><Value value="1"/></DataField>')
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (1.0, 0.0)]
    assert results(text, rows[:1])["predicted_t"] == ["b"]
    label = output('name="l" dataType="string"')
    for told in (text, text.replace("</MiningSchema>", f"</MiningSchema>{label}")):
        with pytest.raises(PredictError, match=r"rows 1$"):
            results(told, rows)
    votes = text.replace("weightedMajorityVote", "majorityVote")
    assert results(votes, rows)["predicted_t"] == ["a", "a"]  # of which both have one
    means = text.replace("categoricalScoringMethod", "continuousScoringMethod").replace(
        '"weightedMajorityVote"', '"weightedAverage"'
    )
    means = means.replace('functionName="classification"', 'functionName="regression"')
    means = means.replace("<t>a</t>", "<t>1</t>").replace("<t>b</t>", "<t>2</t>")
    start, end = means.index('<DataField name="t"'), means.index('<DataField name="x"')
    means = means[:start] + '<DataField name="t" optype="continuous" dataType="double"/>' + means[end:]
    with pytest.raises(PredictError, match=r"rows 1$"):
        results(means, rows)
    with pytest.raises(UnprovenModelError, match="a weight below 0"):
        read(text.replace('fieldWeight="0.5"', 'fieldWeight="-0.5"'))


def test_neighbours_by_similarity() -> None:
    """The most similar rows, of equals the earlier."""
    measure = '<ComparisonMeasure kind="similarity"><simpleMatching/></ComparisonMeasure>'
    training = ((0.0, "red", "a", 1.0), (1.0, "red", "b", 2.0), (1.0, "red", "c", 4.0))
    text = neighbours("", True, 1, training, measure).replace(
        '<KNNInput field="k" compareFunction="delta" fieldWeight="0.5"/>', ""
    )
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (0.0, 1.0)]
    expected(text, "predicted_t", [1.0, 2.0], rows)


def machines(attributes: str, categories: str, extra: str = "") -> str:
    """A linear machine of x for the first category, of x + y less 1 for the second."""
    parts = "".join(
        f'<SupportVectorMachine targetCategory="{c}" {extra}><Coefficients absoluteValue="{shift}">'
        f'<Coefficient value="1"/><Coefficient value="{slope}"/></Coefficients></SupportVectorMachine>'
        for c, shift, slope in zip(categories, (0, -1), (0, 1), strict=False)
    )
    return document(
        f'<SupportVectorMachineModel functionName="classification" svmRepresentation="Coefficients" {attributes}>{schema()}'
        '<LinearKernelType/><VectorDictionary><VectorFields><FieldRef field="x"/><FieldRef field="y"/></VectorFields></VectorDictionary>'
        f"{parts}</SupportVectorMachineModel>"
    )


def plain(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"x": x, "y": y, "k": "red"} for x, y in pairs]


@pytest.mark.parametrize("method", ["", 'classificationMethod="OneAgainstOne"', 'classificationMethod="OneAgainstAll"'])  # fmt: skip
def test_a_machine_that_rounds_chooses_between_its_category_and_the_alternate_one(method: str) -> None:
    text = machines(f'alternateBinaryTargetCategory="c" {method}', "a")
    rows = plain((0.2, 9), (0.5, 9), (0.49, 9), (1.4, 9), (-0.5, 9))
    assert results(text, rows)["predicted_t"] == ["c", "a", "c", "a", "c"]
    with pytest.raises(PredictError, match=r"rows 1, 2$"):
        results(text, plain((1, 0), (1.5, 0), (-0.6, 0)))


def test_machines_that_round_vote() -> None:
    text = machines('alternateBinaryTargetCategory="c" classificationMethod="OneAgainstOne"', "ab")
    rows = plain((0, 1), (1, 0), (0, 2), (1, 1))  # values 0 and 0, 1 and 0, 0 and 1, 1 and 1
    assert results(text, rows)["predicted_t"] == ["c", "a", "b", "a"]


@pytest.mark.parametrize(
    ("attributes", "categories", "extra", "said"),
    [
        ("", "ab", "", "of one against all"),
        ('threshold="0.3"', "a", "", "and a threshold"),
        ('maxWins="true"', "a", "", "and a threshold"),
        ("", "a", 'threshold="0.3"', "and a threshold"),
        ("", "a", 'alternateTargetCategory="b"', "another alternate category"),
    ],
)
def test_a_machine_that_rounds_and_compares_is_refused(
    attributes: str, categories: str, extra: str, said: str
) -> None:
    with pytest.raises(UnprovenModelError, match=said):
        read(machines(f'alternateBinaryTargetCategory="c" {attributes}', categories, extra))
