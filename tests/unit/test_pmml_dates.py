# ruff: noqa: E501 - documents are written in one line
"""Dates, times, and the types that count days or seconds since a start (PMML 4.4, Data Dictionary)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from schemas.errors import InputsError, PredictError, UnprovenModelError
from tests.unit.test_pmml_models import read, results
from udfs.models.runtimes.base import Artifact, PartialInput, WantedSignature
from udfs.models.runtimes.pmml.runtime import load

YEARS = (0, 1960, 1970, 1980, 1990, 2000, 2010, 2020)
DAYS, SECONDS = "dateDaysSince[1960]", "dateTimeSecondsSince[1970]"


def document(
    fields: dict[str, str],
    outputs: dict[str, tuple[str, str]],
    terms: str = "",
    inside: str = "",
    inner: str = "",
) -> str:
    """A regression over `fields` (name -> type) with `outputs` (name -> type, expression)."""
    declared = "".join(
        f'<DataField name="{n}" optype="continuous" dataType="{k}">{inner}</DataField>'
        for n, k in fields.items()
    )
    mined = "".join(f'<MiningField name="{n}"/>' for n in fields)
    asked = "".join(
        f'<OutputField name="{n}" optype="continuous" dataType="{k}" feature="transformedValue">{e}</OutputField>'
        for n, (k, e) in outputs.items()
    )
    return (
        f'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>{declared}</DataDictionary>'
        f'<RegressionModel functionName="regression"><MiningSchema>{mined}</MiningSchema><Output>{asked}</Output>{inside}'
        f'<RegressionTable intercept="0">{terms}</RegressionTable></RegressionModel></PMML>'
    )


def ref(name: str) -> str:
    return f'<FieldRef field="{name}"/>'


def apply(function: str, *arguments: str) -> str:
    return f'<Apply function="{function}">{"".join(arguments)}</Apply>'


def constant(value: Any, kind: str = "integer") -> str:
    return f'<Constant dataType="{kind}">{value}</Constant>'


def value(kind: str, output: str, expression: str, *given: Any) -> list[Any]:
    """What an output of the expression over the field d of type `kind` is for the rows."""
    return results(document({"d": kind}, {"o": (output, expression)}), [{"d": v} for v in given])["o"]


@pytest.mark.parametrize("year", YEARS)
def test_days_and_seconds_are_counted_from_their_start(year: int) -> None:
    days = 719_528 if year == 0 else (date(1970, 1, 1) - date(year, 1, 1)).days
    rows = ["1970-01-01", "1960-02-29", "2020-12-31"]
    expected = [days + (date.fromisoformat(r) - date(1970, 1, 1)).days for r in rows]
    assert value(f"dateDaysSince[{year}]", "integer", ref("d"), *rows) == expected
    rows = ["1970-01-01T00:00:00", "1959-12-31T23:59:59"]
    expected = [
        days * 86_400 + int((datetime.fromisoformat(r) - datetime(1970, 1, 1)).total_seconds()) for r in rows
    ]
    assert value(f"dateTimeSecondsSince[{year}]", "integer", ref("d"), *rows) == expected


@pytest.mark.parametrize("kind", [DAYS, SECONDS, "timeSeconds"])
def test_a_number_is_the_count_itself(kind: str) -> None:
    assert value(kind, "integer", ref("d"), "9", "-20200101", "1e3") == [9, -20_200_101, 1_000]


def test_a_time_is_the_seconds_since_midnight() -> None:
    assert value("timeSeconds", "integer", ref("d"), "00:00:10", "23:59:59") == [10, 86_399]
    assert value("timeSeconds", "integer", apply("dateSecondsSinceMidnight", ref("d")), "00:01:00") == [60]


def test_what_counts_is_a_number_of_models_and_expressions() -> None:
    rows = [{"d": "1960-01-10"}, {"d": "1959-12-30"}]
    text = document({"d": DAYS}, {}, '<NumericPredictor name="d" coefficient="2"/>')
    assert results(text, rows)["predictedValue"] == [18.0, -4.0]
    curve = '<NormContinuous field="d"><LinearNorm orig="0" norm="0"/><LinearNorm orig="100" norm="1"/></NormContinuous>'
    assert value(DAYS, "double", curve, "1960-01-10") == [0.09]
    bins = '<Discretize field="d"><DiscretizeBin binValue="new"><Interval closure="closedOpen" leftMargin="0"/></DiscretizeBin></Discretize>'
    assert value(DAYS, "string", bins, "1960-01-10") == ["new"]
    assert value(DAYS, "integer", apply("+", ref("d"), constant(7)), "1960-01-10") == [16]
    assert value(DAYS, "double", apply("/", ref("d"), constant(2)), "1960-01-10") == [4.5]
    assert value(DAYS, DAYS, apply("-", ref("d"), constant(7)), "1960-01-10") == [2]


@pytest.mark.parametrize(
    ("said", "kind"),
    [("1960-01-05", DAYS), ("4", DAYS), ("4", "integer"), ("4.5", "double"), ("1960-01-05", "string"), ("1960-01-05", "date"), ("-7301", "dateDaysSince[1980]")],
)  # fmt: skip
def test_it_is_compared_with_moments_and_with_numbers(said: str, kind: str) -> None:
    asked = apply("greaterThan", ref("d"), constant(said, kind))
    assert value(DAYS, "boolean", asked, "1960-01-10", "1960-01-01") == ["true", "false"]


@pytest.mark.parametrize("said", ["1960-01-05", "4", "4.5"])
def test_a_predicate_asks_by_moment_and_by_number(said: str) -> None:
    tree = (
        '<TreeModel functionName="regression"><MiningSchema><MiningField name="d"/></MiningSchema><Node score="0"><True/>'
        f'<Node score="1"><SimplePredicate field="d" operator="greaterThan" value="{said}"/></Node><Node score="2"><True/></Node></Node></TreeModel>'
    )
    text = document({"d": DAYS}, {})
    text = text[: text.index("<RegressionModel")] + tree + "</PMML>"
    assert results(text, [{"d": "1960-01-10"}, {"d": "1960-01-01"}])["predictedValue"] == [1.0, 2.0]


def test_fields_of_different_starts_are_compared_as_moments() -> None:
    fields = {"d": DAYS, "e": "dateDaysSince[2000]", "f": "date"}
    rows = [
        {"d": "2000-01-02", "e": "1", "f": "2000-01-02"},
        {"d": "2000-01-02", "e": "2000-01-01", "f": "1999-01-01"},
    ]
    found = results(
        document(
            fields,
            {
                "e": ("boolean", apply("equal", ref("d"), ref("e"))),
                "f": ("boolean", apply("equal", ref("d"), ref("f"))),
            },
        ),
        rows,
    )
    assert found["e"] == found["f"] == ["true", "false"]
    with pytest.raises(UnprovenModelError, match="start at different times"):
        read(document(fields, {"o": ("integer", apply("-", ref("d"), ref("e")))}))
    branches = apply("if", apply("equal", ref("d"), ref("e")), ref("d"), ref("e"))
    with pytest.raises(UnprovenModelError, match="branches"):
        read(document(fields, {"o": (DAYS, branches)}))


@pytest.mark.parametrize(
    ("source", "target", "given", "expected"),
    [
        (DAYS, "dateDaysSince[1980]", "1960-01-10", -7_296), ("date", DAYS, "1960-01-10", 9), ("string", DAYS, "1960-01-10", 9),
        ("integer", DAYS, 9, 9), ("dateTime", "dateTimeSecondsSince[1960]", "1960-01-01T00:00:10", 10), ("time", "timeSeconds", "00:00:10", 10),
        (DAYS, "date", "9", "1960-01-10"), (SECONDS, "dateTime", "10", "1970-01-01T00:00:10"), ("timeSeconds", "time", "10", "00:00:10"),
    ],
)  # fmt: skip
def test_a_moment_in_another_type(source: str, target: str, given: Any, expected: Any) -> None:
    assert value(source, target, ref("d"), given) == [expected]


def test_a_constant_is_one_moment_in_whatever_types_it_is_handed_on() -> None:
    """As a date its text was its number, which was read as a count of days from another start."""
    function = (
        '<TransformationDictionary><DefineFunction name="same" optype="continuous" dataType="boolean"><ParameterField name="p" dataType="date"/>'
        f'<ParameterField name="q"/>{apply("equal", ref("p"), ref("q"))}</DefineFunction></TransformationDictionary>'
    )
    text = document({"d": DAYS}, {"o": ("boolean", apply("same", constant(9, DAYS), ref("d")))})
    text = text.replace("<RegressionModel", f"{function}<RegressionModel")
    assert results(text, [{"d": "1960-01-10"}, {"d": "1960-01-11"}])["o"] == ["true", "false"]


@pytest.mark.parametrize(
    ("source", "target"),
    [(DAYS, "string"), (DAYS, SECONDS), (DAYS, "dateTime"), ("date", SECONDS), ("time", DAYS), ("boolean", DAYS), (DAYS, "boolean"), ("integer", "date")],
)  # fmt: skip
def test_what_is_no_moment_of_the_other_type_is_refused(source: str, target: str) -> None:
    with pytest.raises(UnprovenModelError, match=r"makes a|as text"):
        read(document({"d": source}, {"o": (target, ref("d"))}))


def test_a_count_that_is_no_date_refuses_its_row() -> None:
    text = document({"d": "dateDaysSince[0]"}, {"o": ("date", ref("d"))})
    assert results(text, [{"d": "366"}])["o"] == ["0001-01-01"]
    for beyond in ("365", "3652425", str(2**63 - 1)):
        with pytest.raises(PredictError, match="'o' is no date"):
            results(text, [{"d": beyond}])
    with pytest.raises(PredictError, match="is no dateDaysSince"):
        results(document({"d": DAYS}, {"o": ("dateDaysSince[1980]", ref("d"))}), [{"d": str(-(2**63))}])
    with pytest.raises(UnprovenModelError, match="'3' of 'formatDatetime' is no date"):
        read(
            document(
                {"d": DAYS},
                {
                    "o": (
                        "string",
                        apply("formatDatetime", constant(3, "dateDaysSince[0]"), constant("%Y", "string")),
                    )
                },
            )
        )


@pytest.mark.parametrize("given", ["soon", "1960-13-01", "12:00:00", "1960-01-01T00:00:00Z", "1.5"])
def test_what_is_no_moment_is_invalid(given: str) -> None:
    for kind in ("date", DAYS, SECONDS):
        with pytest.raises(PredictError, match="'d' holds what the model declares invalid"):
            value(kind, "integer" if kind != "date" else kind, ref("d"), given)


def test_values_and_intervals_of_a_field() -> None:
    interval = document(
        {"d": DAYS},
        {"o": ("integer", ref("d"))},
        inner='<Interval closure="closedOpen" leftMargin="0" rightMargin="9.5"/>',
    )
    listed = document(
        {"d": DAYS}, {"o": ("integer", ref("d"))}, inner='<Value value="1960-01-10"/><Value value="8"/>'
    )
    for text in (interval, listed):
        assert results(text, [{"d": "1960-01-10"}, {"d": "8"}])["o"] == [9, 8]
        with pytest.raises(PredictError, match="invalid in rows 0"):
            results(text, [{"d": "1960-01-11"}])
        read(text).predict(read(text).sample(8) or {})  # rows to try it with


def test_a_record_may_hold_the_number_where_the_descriptor_says_so() -> None:
    artifact = Artifact(document({"d": DAYS}, {"o": ("integer", ref("d"))}).encode(), None, None)  # type: ignore[arg-type]
    runtime = load(artifact, WantedSignature(inputs=(PartialInput("d", dtype="int64"),)))
    assert runtime.predict({"d": np.array([9, -2])})["o"].tolist() == [9, -2]
    with pytest.raises(InputsError, match=r"dateDaysSince\[1960\] in the model, not float64"):
        load(artifact, WantedSignature(inputs=(PartialInput("d", dtype="float64"),)))


def test_a_date_may_be_the_days_since_1970_where_the_descriptor_says_so() -> None:
    """As Avro and Parquet hold dates."""
    artifact = Artifact(document({"d": "date"}, {"o": ("date", ref("d"))}).encode(), None, None)  # type: ignore[arg-type]
    runtime = load(artifact, WantedSignature(inputs=(PartialInput("d", dtype="int64"),)))
    assert runtime.predict({"d": np.array([18_321, -3_654])})["o"].tolist() == ["2020-02-29", "1959-12-31"]
    with pytest.raises(PredictError, match=r"invalid in rows 0, 2$"):
        runtime.predict({"d": np.array([3_000_000, 0, -(2**63)])})
    sample = runtime.sample(4)
    assert sample is not None and len(runtime.predict(sample)["o"]) == 4
    since = apply("dateSecondsSinceYear", ref("d"), constant(1970))
    artifact = Artifact(document({"d": "date"}, {"o": ("integer", since)}).encode(), None, None)  # type: ignore[arg-type]
    runtime = load(artifact, WantedSignature(inputs=(PartialInput("d", dtype="int32"),)))
    later = np.array([30_000], np.int32)  # in seconds more than 32 bits hold
    assert runtime.predict({"d": later})["o"].tolist() == [30_000 * 86_400]
    for kind in ("dateTime", "time"):
        with pytest.raises(InputsError, match=f"is {kind} in the model, not int64"):
            load(
                Artifact(document({"d": kind}, {"o": (kind, ref("d"))}).encode(), None, None),
                WantedSignature(inputs=(PartialInput("d", dtype="int64"),)),
            )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "moments"),
    [("date", ["2020-02-29", "0999-01-01"]), ("dateTime", ["2020-02-29T10:00:00", "1959-12-31T23:59:59"]), ("time", ["10:30:15", "00:00:00"])],
)  # fmt: skip
def test_a_moment_is_written_as_the_standard_writes_it(kind: str, moments: list[str]) -> None:
    assert value(kind, kind, ref("d"), *moments) == moments
    tree = (
        '<TreeModel functionName="classification"><MiningSchema><MiningField name="t" usageType="target"/><MiningField name="x"/></MiningSchema><Node><True/>'
        f'<Node score="{moments[0]}"><SimplePredicate field="x" operator="lessThan" value="0"/></Node><Node score="{moments[1]}"><True/></Node></Node>'
        '<ModelVerification recordCount="1"><VerificationFields><VerificationField field="x"/><VerificationField field="t"/></VerificationFields>'
        f"<InlineTable><row><x>-1</x><t>{moments[0]}</t></row></InlineTable></ModelVerification></TreeModel>"
    )
    text = document({"x": "double", "t": kind}, {}).replace(
        'name="t" optype="continuous"', 'name="t" optype="categorical"'
    )
    text = text[: text.index("<RegressionModel")] + tree + "</PMML>"
    assert results(text, [{"x": -1.0}, {"x": 1.0}])["predicted_t"] == moments
    assert read(text).verified


def test_times_are_formatted_too() -> None:
    def formatted(kind: str, pattern: str, given: str) -> list[Any]:
        return value(kind, "string", apply("formatDatetime", ref("d"), constant(pattern, "string")), given)

    assert formatted("dateTime", "%d.%m.%Y %H:%M:%S", "2020-02-29T10:05:06") == ["29.02.2020 10:05:06"]
    assert formatted("time", "%H-%M", "10:05:06") == ["10-05"]
    assert formatted(DAYS, "%Y", "0") == ["1960"]
    assert formatted("date", "%Y-%j", "0999-01-02") == ["0999-002"]
    for kind, pattern in (("date", "%H"), ("time", "%Y"), ("dateTime", "%%Y"), ("dateTime", "%B")):
        with pytest.raises(UnprovenModelError, match="is not known for a"):
            formatted(kind, pattern, "")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("0:00:00", 0), ("0:01:40", 100), ("05:23:30", 19_410), ("24:00:00", 86_400), ("24:00:01", 86_401), ("27:46:40", 100_000), ("100:00:00", 360_000)],
)  # fmt: skip
def test_seconds_since_midnight_go_on_beyond_a_day(given: str, seconds: int) -> None:
    assert value("timeSeconds", "integer", ref("d"), given) == [seconds]
    asked = apply("greaterOrEqual", ref("d"), constant(given, "timeSeconds"))
    assert value("timeSeconds", "boolean", asked, str(seconds), str(seconds - 1)) == ["true", "false"]


def test_a_time_of_another_day_is_none_of_a_day() -> None:
    for said in ("1:60:00", "1:00:60", "-1:00:00", "1:2:3"):
        with pytest.raises(PredictError, match="'d' holds what the model declares invalid"):
            value("timeSeconds", "integer", ref("d"), said)
    with pytest.raises(PredictError, match="'o' is no time"):
        value("timeSeconds", "time", ref("d"), "24:00:00")
    with pytest.raises(PredictError, match="'d' holds what the model declares invalid"):
        value("time", "time", ref("d"), "24:00:00")


@pytest.mark.parametrize(
    ("kind", "expression", "right", "wrong"),
    [
        (DAYS, ref("d"), ("1960-01-10", "9", "9.0"), ("1960-01-11", "8", "soon")),
        (SECONDS, constant(11), ("1970-01-01T00:00:11", "11"), ("1970-01-01T00:00:10",)),
        ("timeSeconds", constant(100_000), ("27:46:40", "100000"), ("27:46:41",)),
        ("date", ref("e"), ("1960-01-10", "19600110"), ("1960-01-11", "soon")),
    ],
)  # fmt: skip
def test_a_verification_may_write_a_moment_as_the_standard_does(
    kind: str, expression: str, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    """A count is also the moment that it counts to."""

    def verified(said: str) -> bool:
        fields = "".join(f'<VerificationField field="{n}"/>' for n in "deo")
        rows = f"<row><d>1960-01-10</d><e>1960-01-10</e><o>{said}</o></row>"
        told = f'<ModelVerification recordCount="1"><VerificationFields>{fields}</VerificationFields><InlineTable>{rows}</InlineTable></ModelVerification>'
        text = document({"d": DAYS, "e": "date"}, {"o": (kind, expression)})
        return read(text.replace("</RegressionTable>", f"</RegressionTable>{told}")).verified

    assert all(map(verified, right))
    for said in wrong:
        with pytest.raises(UnprovenModelError, match=f"o is {said}, the model gives"):
            verified(said)
