# ruff: noqa: E501 - documents are written in one line
"""General regression models of PMML 4.4 (General Regression), against numbers worked out from its text."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import document, schema
from tests.unit.test_pmml_models import expected, read, results

ROWS = [
    {"x": x, "y": y, "k": k}
    for x, y, k in ((-1.0, 2.0, "red"), (0.5, 0.0, "blue"), (2.0, 3.0, "green"), (9.0, 7.5, "red"))
]
CONTRASTS = (
    '<Predictor name="k" contrastMatrixType="Helmert"><Categories><Category value="red"/><Category value="green"/>'
    '<Category value="blue"/></Categories><Matrix nbRows="3" nbCols="2"><Array type="real">0.75 0</Array>'
    '<Array type="real">-0.25 0.5</Array><Array type="real">-0.5 -0.5</Array></Matrix></Predictor>'
)
OF = {"red": (0.75, 0.0), "green": (-0.25, 0.5), "blue": (-0.5, -0.5)}


OF_FIELD = '<Categories><Category value="red"/><Category value="green"/><Category value="blue"/></Categories>'


def model(
    attributes: str, cells: str, factor: str = '<Predictor name="k"/>', extra: str = "", pp: str = "red"
) -> str:
    return (
        f'<GeneralRegressionModel {attributes}>{schema()}<ParameterList><Parameter name="p0"/>'
        '<Parameter name="p1" referencePoint="REFERENCE"/><Parameter name="p2"/></ParameterList>'
        f'<FactorList>{factor}</FactorList><CovariateList><Predictor name="x"/></CovariateList><PPMatrix>'
        f'<PPCell value="1" predictorName="x" parameterName="p1"/><PPCell value="{pp}" predictorName="k" parameterName="p2"/></PPMatrix>'
        f"<ParamMatrix>{cells}</ParamMatrix>{extra}</GeneralRegressionModel>"
    ).replace("REFERENCE", "1.5" if "Cox" in attributes else "0")


def cells(*betas: tuple[str, str, float]) -> str:
    return "".join(
        f'<PCell parameterName="{p}" beta="{beta}"' + (f' targetCategory="{c}"' if c else "") + "/>"
        for c, p, beta in betas
    )


LINKS = {
    "logit": lambda v: 1 / (1 + math.exp(-v)),
    "probit": NormalDist().cdf,
    "cloglog": lambda v: 1 - math.exp(-math.exp(v)),
    "loglog": lambda v: math.exp(-math.exp(-v)),
    "cauchit": lambda v: 0.5 + math.atan(v) / math.pi,
}
ORDINAL = 'functionName="classification" modelType="ordinalMultinomial"'
STEPS = cells(("a", "p0", -0.5), ("b", "p0", 0.75), ("", "p1", 0.3), ("", "p2", -1.25))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("attribute", ["cumulativeLink", "cumulativeLinkFunction"])
def test_an_ordinal_model_gives_what_lies_between_two_cumulative_probabilities(
    link: str, attribute: str
) -> None:
    text = document(model(f'{ORDINAL} {attribute}="{link}" offsetVariable="y"', STEPS))
    found = results(text, ROWS)
    for k, row in enumerate(ROWS):
        common: float = 0.3 * row["x"] - 1.25 * (row["k"] == "red") + row["y"]
        first, second = LINKS[link](common - 0.5), LINKS[link](common + 0.75)
        shares = [first, second - first, 1 - second]
        assert [found[f"probability_{c}"][k] for c in "abc"] == pytest.approx(shares, abs=1e-12)
        assert found["predicted_t"][k] == "abc"[shares.index(max(shares))]


@pytest.mark.parametrize(
    ("attributes", "betas", "said"),
    [
        ('cumulativeLink="logit"', (("a", "p0", 1.0), ("b", "p0", 0.5)), "do not ascend"),
        ('cumulativeLink="logit"', (("a", "p0", 1.0),), "each declared category but the last"),
        ('cumulativeLink="logit"', (("a", "p0", 0.0), ("c", "p0", 1.0)), "each declared category but"),
        (
            'cumulativeLink="logit"',
            (("a", "p0", 0.0), ("b", "p0", 1.0), ("b", "p1", 1.0)),
            "more of their own",
        ),
        (
            'cumulativeLink="logit" targetReferenceCategory="a"',
            (("a", "p0", 0.0), ("b", "p0", 1.0)),
            "not the last",
        ),
        ("", (("a", "p0", 0.0), ("b", "p0", 1.0)), "lacks cumulativeLink"),
        (
            'cumulativeLink="logit" cumulativeLinkFunction="logit"',
            (("a", "p0", 0.0), ("b", "p0", 1.0)),
            "two cumulative",
        ),
    ],
)
def test_an_ordinal_model_that_can_be_read_in_two_ways_is_refused(
    attributes: str, betas: tuple, said: str
) -> None:
    with pytest.raises(UnprovenModelError, match=said):
        read(document(model(f"{ORDINAL} {attributes}", cells(*betas))))


COX = 'functionName="regression" modelType="CoxRegression" endTimeVariable="y"'
SLOPES = cells(("", "p1", 0.4), ("", "p2", -0.7))


def steps(*pairs: tuple[float, float]) -> str:
    return "".join(f'<BaselineCell time="{t}" cumHazard="{h}"/>' for t, h in pairs)


def risk(row: dict[str, Any]) -> float:
    return math.exp(0.4 * row["x"] - 0.7 * (row["k"] == "red") - 0.4 * 1.5)


def test_a_cox_regression_multiplies_the_hazard_until_a_time() -> None:
    table = f'<BaseCumHazardTables maxTime="8">{steps((5, 0.9), (2, 0.1), (3, 0.35))}</BaseCumHazardTables>'
    text = document(model(COX, SLOPES, extra=table), numeric=True)
    until = [0.1, 0.0, 0.35, 0.9]  # at 2, 0, 3 and 7.5
    expected(text, "predicted_t", [h * risk(row) for h, row in zip(until, ROWS, strict=True)], ROWS)
    with pytest.raises(PredictError, match=r"rows 1$"):  # nothing is known after the last time
        results(text, [ROWS[0], {**ROWS[1], "y": 8.5}])
    none = model(COX, "", extra=table).replace(' referencePoint="1.5"', "")
    expected(document(none, numeric=True), "predicted_t", until, ROWS)  # a baseline alone


def test_a_cox_regression_has_a_baseline_for_each_stratum() -> None:
    table = (
        f'<BaseCumHazardTables><BaselineStratum value="red" maxTime="9">{steps((1, 0.2), (7, 0.6))}</BaselineStratum>'
        f'<BaselineStratum value="blue" maxTime="3">{steps((0, 0.05))}</BaselineStratum></BaseCumHazardTables>'
    )
    text = document(model(f'{COX} baselineStrataVariable="k"', SLOPES, extra=table), numeric=True)
    rows = [ROWS[0], ROWS[1], ROWS[3]]
    until = [0.2, 0.05, 0.6]
    expected(text, "predicted_t", [h * risk(row) for h, row in zip(until, rows, strict=True)], rows)
    with pytest.raises(PredictError, match=r"rows 2$"):  # green has none
        results(text, [*ROWS[:3]])
    sample = read(text).sample(4)
    assert sample is not None and set(sample["k"]) <= {"red", "blue"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (' maxTime="8"', "", "lacks maxTime"),
        ('time="3"', 'time="2"', "two for one time"),
        (' endTimeVariable="y"', "", "lacks endTimeVariable"),
        ("modelType=", 'offsetValue="1" modelType=', "CoxRegression model has an offset"),
        ("modelType=", 'offsetVariable="x" modelType=', "CoxRegression model has an offset"),
        ('parameterName="p2" beta', 'targetCategory="a" parameterName="p2" beta', "for a category"),
        ('modelType="CoxRegression"', 'modelType="generalLinear"', "belongs to a CoxRegression"),
        (' endTimeVariable="y"', ' endTimeVariable="k"', "'k', which is a string"),
        ('endTimeVariable="y"', 'endTimeVariable="y" baselineStrataVariable="k"', "no baseline for"),
    ],
)
def test_a_cox_regression_without_what_it_needs_is_refused(old: str, new: str, said: str) -> None:
    table = f'<BaseCumHazardTables maxTime="8">{steps((2, 0.1), (3, 0.35))}</BaseCumHazardTables>'
    text = document(model(COX, SLOPES, extra=table), numeric=True)
    with pytest.raises(UnprovenModelError, match=said):
        read(text.replace(old, new))


def test_a_contrast_is_the_number_in_the_row_of_the_record_and_the_column_of_the_cell() -> None:
    linear = 'functionName="regression" modelType="generalLinear"'
    betas = cells(("", "p0", 1.0), ("", "p1", 2.0), ("", "p2", 4.0))
    for column, name in enumerate(("red", "green")):
        text = document(model(linear, betas, CONTRASTS, pp=name), numeric=True)
        values = [1 + 2 * row["x"] + 4 * OF[row["k"]][column] for row in ROWS]
        expected(text, "predicted_t", values, ROWS)
    written = "".join(
        f'<MatCell row="{r}" col="{c}">{OF[k][c - 1]}</MatCell>' for r, k in enumerate(OF, 1) for c in (1, 2)
    )
    start, rest = CONTRASTS.index("<Array"), CONTRASTS.index("</Matrix>")
    by_cells = CONTRASTS[:start] + written + CONTRASTS[rest:]
    expected(document(model(linear, betas, by_cells, pp="green"), numeric=True), "predicted_t", values, ROWS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('PPCell value="red"', 'PPCell value="blue"', "has no column"),
        ('<Category value="green"/>', "", "not a row for each category"),
        ("0.75 0<", "0.75<", "rows of different lengths"),
        ('nbCols="2"', 'nbCols="3"', "says that it is 3 x 3 and is 3 x 2"),
        ("<Matrix ", '<Matrix kind="odd" ', "kind='odd'"),
        ("<Matrix ", '<Matrix kind="diagonal" ', "not one row of all"),
        ("<Matrix ", '<Matrix kind="symmetric" ', "not a triangle of rows"),
        ("<Matrix ", '<Matrix diagDefault="1" ', "default values beside its rows"),
        ("0.75 0<", "much 0<", "no finite number"),
        ("</Matrix>", '</Matrix><Matrix nbRows="1"/>', "more than one Matrix"),
    ],
)
def test_contrasts_that_do_not_fit_are_refused(old: str, new: str, said: str) -> None:
    betas = cells(("", "p2", 4.0))
    text = document(
        model('functionName="regression" modelType="generalLinear"', betas, CONTRASTS), numeric=True
    )
    with pytest.raises(UnprovenModelError, match=said):
        read(text.replace(old, new))


def test_a_category_without_contrasts_has_no_result() -> None:
    only_two = (
        CONTRASTS.replace('<Category value="blue"/>', "")
        .replace('<Array type="real">-0.5 -0.5</Array>', "")
        .replace('nbRows="3"', 'nbRows="2"')
    )
    text = document(
        model('functionName="regression" modelType="generalLinear"', cells(("", "p2", 4.0)), only_two),
        numeric=True,
    )
    with pytest.raises(PredictError, match=r"rows 1$"):
        results(text, ROWS[:3])


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ('linkFunction="logc"', lambda v: 1 - math.exp(v)),
        (
            'linkFunction="negbin" distribution="negbin" distParameter="2"',
            lambda v: 1 / (2 * (math.exp(-v) - 1)),
        ),
        ('linkFunction="log" distribution="negbin" distParameter="2"', math.exp),
        ('linkFunction="power" linkParameter="0"', math.exp),
        ('linkFunction="oddspower" linkParameter="0"', LINKS["logit"]),
        ('linkFunction="oddspower" linkParameter="-0.5"', lambda v: 1 / (1 + (1 - 0.5 * v) ** 2)),
        ('linkFunction="logit" trialsValue="20"', lambda v: 20 * LINKS["logit"](v)),
        ('linkFunction="identity" offsetValue="3"', lambda v: v + 3),
    ],
)
def test_links_offsets_and_trials(attributes: str, value: Any) -> None:
    betas = cells(("", "p0", -4.0), ("", "p1", 0.25))
    text = document(
        model(f'functionName="regression" modelType="generalizedLinear" {attributes}', betas), numeric=True
    )
    expected(text, "predicted_t", [value(-4 + 0.25 * row["x"]) for row in ROWS], ROWS)


def test_trials_are_a_field_of_the_record() -> None:
    betas = cells(("", "p0", -1.0), ("", "p1", 0.25))
    asked = 'functionName="regression" modelType="generalizedLinear" linkFunction="probit" trialsVariable="y"'
    text = document(model(asked, betas), numeric=True)
    rows = ROWS[:3]
    share = [NormalDist().cdf(-1 + 0.25 * row["x"]) * row["y"] for row in rows]
    expected(text, "predicted_t", share, rows)
    bad = [{**ROWS[0], "y": y} for y in (2.0, 7.5, -1.0, None)]
    with pytest.raises(PredictError, match="'y' is no number of trials in rows 1, 2"):
        results(text, bad[:3])
    with pytest.raises(PredictError, match=r"no 'predicted_t' in rows 0$"):
        results(text, bad[3:])
    with pytest.raises(UnprovenModelError, match="a number of trials"):
        read(document(model(asked.replace("generalizedLinear", "generalLinear"), betas), numeric=True))
    for distribution, given, said in (
        ("poisson", 'trialsVariable="y"', "the distribution 'poisson'"),
        ("binomial", 'trialsVariable="y" trialsValue="3"', "or two"),
        ("binomial", 'trialsValue="2.5"', "not a whole number"),
        ("binomial", 'trialsValue="0"', "0 trials"),
    ):
        other = asked.replace('trialsVariable="y"', f'{given} distribution="{distribution}"')
        with pytest.raises(UnprovenModelError, match=said):
            read(document(model(other, betas), numeric=True))
    classes = document(model(asked.replace("regression", "classification", 1), betas), classes="ab")
    with pytest.raises(UnprovenModelError, match="a classification has a number of trials"):
        read(classes)


@pytest.mark.parametrize("kind", ["regression", "generalLinear"])
def test_an_offset_is_refused_where_the_standard_has_none(kind: str) -> None:
    asked = f'functionName="regression" modelType="{kind}"'
    betas = cells(("", "p0", 1.0), ("", "p1", 2.0))
    with pytest.raises(UnprovenModelError, match=f"a {kind} model has an offset"):
        read(document(model(f'{asked} offsetVariable="y"', betas), numeric=True))
    with pytest.raises(UnprovenModelError, match=f"a {kind} model has an offset"):
        read(document(model(f'{asked} offsetValue="0.5"', betas), numeric=True))
    none = document(model(f'{asked} offsetValue="0"', betas), numeric=True)
    expected(none, "predicted_t", [1 + 2 * row["x"] for row in ROWS], ROWS)
    table = f'<BaseCumHazardTables maxTime="8">{steps((2, 0.1), (3, 0.35))}</BaseCumHazardTables>'
    cox = document(model(f'{COX} offsetValue="0"', SLOPES, extra=table), numeric=True)
    expected(cox, "predicted_t", [0.1 * risk(ROWS[0])], ROWS[:1])


def test_an_offset_is_an_intercept_of_each_category_but_the_reference() -> None:
    betas = cells(("a", "p0", 0.5), ("a", "p1", -1.0), ("c", "p0", 1.0))
    asked = 'functionName="classification" modelType="multinomialLogistic" targetReferenceCategory="b"'
    found = results(document(model(f'{asked} offsetVariable="y"', betas)), ROWS)
    for k, row in enumerate(ROWS):
        weights = {"a": math.exp(0.5 - row["x"] + row["y"]), "b": 1.0, "c": math.exp(1.0 + row["y"])}
        shares = [w / sum(weights.values()) for w in weights.values()]
        assert [found[f"probability_{c}"][k] for c in "abc"] == pytest.approx(shares, abs=1e-12)


def test_a_link_is_named_and_what_is_no_probability_is_none() -> None:
    asked = 'functionName="FUNCTION" modelType="generalizedLinear"'
    betas = cells(("", "p0", 0.25), ("", "p1", 0.25))
    with pytest.raises(UnprovenModelError, match="lacks linkFunction"):
        read(document(model(asked.replace("FUNCTION", "regression"), betas), numeric=True))
    identity = model(asked.replace("FUNCTION", "classification") + ' linkFunction="identity" targetReferenceCategory="a"', betas)  # fmt: skip
    text = document(identity, classes="ab")
    expected(text, "probability_b", [0.0, 0.375, 0.75], ROWS[:3])  # x is -1, 0.5, 2
    with pytest.raises(PredictError, match=r"rows 1, 2$"):
        results(text, [ROWS[0], {**ROWS[0], "x": -1.5}, {**ROWS[0], "x": 9.0}])


LINEAR = 'functionName="regression" modelType="generalLinear"'
SYMMETRIC = '<Matrix kind="symmetric" nbRows="3" nbCols="3"><Array>1</Array><Array>2 3</Array><Array>4 5 6</Array></Matrix>'
DIAGONAL = '<Matrix kind="diagonal"DEFAULT><Array>2 3 5</Array></Matrix>'
SPARSE = '<Matrix nbRows="3" nbCols="2" diagDefault="1" offDiagDefault="-0.5"><MatCell row="3" col="2">7</MatCell></Matrix>'


@pytest.mark.parametrize(
    ("matrix", "contrasts"),
    [
        (SYMMETRIC, {"red": (1, 2, 4), "green": (2, 3, 5), "blue": (4, 5, 6)}),
        (DIAGONAL.replace("DEFAULT", ""), {"red": (2, 0, 0), "green": (0, 3, 0), "blue": (0, 0, 5)}),
        (
            DIAGONAL.replace("DEFAULT", ' offDiagDefault="0.5"'),
            {"red": (2, 0.5, 0.5), "green": (0.5, 3, 0.5), "blue": (0.5, 0.5, 5)},
        ),
        (SPARSE, {"red": (1, -0.5), "green": (-0.5, 1), "blue": (-0.5, 7)}),
    ],
)
def test_matrices_of_each_kind_and_the_order_of_the_field(matrix: str, contrasts: dict[str, tuple]) -> None:
    """Where a factor lists no categories, they are those of its field: red, green and blue."""
    start, end = CONTRASTS.index("<Matrix"), CONTRASTS.index("</Predictor>")
    factor = (CONTRASTS[:start] + matrix + CONTRASTS[end:]).replace(OF_FIELD, "")
    betas = cells(("", "p0", 1.0), ("", "p2", 4.0))
    for column, name in enumerate(list(contrasts)[: len(contrasts["red"])]):
        text = document(model(LINEAR, betas, factor, pp=name), numeric=True)
        values = [1 + 4 * contrasts[row["k"]][column] for row in ROWS]
        expected(text, "predicted_t", values, ROWS)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (SPARSE.replace(' diagDefault="1"', ""), "neither a cell nor a default"),
        (SPARSE.replace(' offDiagDefault="-0.5"', ""), "neither a cell nor a default"),
        (SPARSE.replace(' nbRows="3"', ""), "lacks nbRows"),
        (SPARSE.replace('row="3"', 'row="4"'), "says that it is 3 x 2 and is 4 x 2"),
        (SPARSE.replace('row="3"', 'row="0"'), "before the first row"),
        (SPARSE.replace('nbRows="3"', 'nbRows="3000000"'), "larger than"),
        (SPARSE.replace("</Matrix>", '<MatCell row="3" col="2">7</MatCell></Matrix>'), "two cells in one"),
        (SPARSE.replace(' diagDefault="1" offDiagDefault="-0.5"', ""), "not one cell for each"),
        (SPARSE.replace("<Matrix", '<Matrix kind="symmetric"'), "rows that its kind asks for"),
        (SYMMETRIC.replace("</Matrix>", '<MatCell row="1" col="1">1</MatCell></Matrix>'), "rows and cells"),
        (SYMMETRIC.replace("4 5 6", "4 5"), "triangle of rows"),
        (DIAGONAL.replace("DEFAULT", ' diagDefault="1"'), "not one row of all"),
        (DIAGONAL.replace("DEFAULT", ' nbRows="2"'), "says that it is 2 x 3"),
        (DIAGONAL.replace("DEFAULT", "").replace("2 3 5", "1 " * 2001), "larger than"),
    ],
)
def test_a_matrix_that_does_not_say_all_of_its_numbers_is_refused(matrix: str, said: str) -> None:
    start, end = CONTRASTS.index("<Matrix"), CONTRASTS.index("</Predictor>")
    factor = CONTRASTS[:start] + matrix + CONTRASTS[end:]
    with pytest.raises(UnprovenModelError, match=said):
        read(document(model(LINEAR, cells(("", "p2", 4.0)), factor), numeric=True))


def test_a_factor_whose_field_lists_no_values_needs_its_categories() -> None:
    factor = CONTRASTS.replace(OF_FIELD, "")
    listed = "".join(f'<Value value="{c}"/>' for c in ("red", "green", "blue"))
    text = document(model(LINEAR, cells(("", "p2", 4.0)), factor), numeric=True)
    assert listed in text and read(text)
    with pytest.raises(UnprovenModelError, match="not a row for each category"):
        read(text.replace(listed, ""))
