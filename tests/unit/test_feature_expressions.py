"""SQL steps: what they compute, what they may not be, and what becomes of an event on which one fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.features import decode_events
from schemas.errors import FeatureError
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    Source,
    Sum,
    Trailing,
    Value,
)
from tests.feature_harness import FeatureHarness
from udfs.features.expressions import Expressions
from udfs.features.loading import load_declarations
from udfs.features.steps import check_expressions, steps_before

START = 1_700_000_000_000
TYPES = {
    "at": FeatureType.TIMESTAMP,
    "amount": FeatureType.FLOAT64,
    "n": FeatureType.INT64,
    "ok": FeatureType.BOOL,
    "items": FeatureType.INT64_LIST,
    "place": FeatureType.STRING,
}
ROWS = pa.record_batch(
    {
        "at": pa.array([START, 5], pa.int64()),
        "amount": pa.array([1.5, None]),
        "n": pa.array([3, 4], pa.int64()),
        "ok": pa.array([True, None]),
        "items": pa.array([[1, 2, 3], None], pa.list_(pa.int64())),
        "place": pa.array(["abc", "12"]),
    }
)


@pytest.fixture
def duck() -> Iterator[Expressions]:
    expressions = Expressions()
    yield expressions
    expressions.close()


def step(sql: str, kind: FeatureType, name: str = "x") -> Expression:
    return Expression(name=name, sql=sql, type=kind)


@pytest.mark.parametrize(
    ("sql", "kind", "values"),
    [
        ("amount * 2", FeatureType.FLOAT64, [3.0, None]),
        ('"at" // 1000', FeatureType.INT64, [1_700_000_000, 0]),
        ('hour(epoch_ms("at"))', FeatureType.INT64, [22, 0]),
        ('epoch_ms("at") + INTERVAL 1 DAY', FeatureType.TIMESTAMP, [START + 86_400_000, 86_400_005]),
        ("strftime(make_timestamptz(1000000), '%H')", FeatureType.STRING, ["00", "00"]),
        ("upper(place) || '-' || N", FeatureType.STRING, ["ABC-3", "12-4"]),
        ("amount > 1 AND ok", FeatureType.BOOL, [True, None]),
        ("list_transform(items, lambda v: v + n)", FeatureType.INT64_LIST, [[4, 5, 6], None]),
        ("[v * 2 for v in items if v > 1]", FeatureType.INT64_LIST, [[4, 6], None]),
        ("TRY(CAST(place AS INTEGER))", FeatureType.INT64, [None, 12]),
        ("events.amount -- the one of the row", FeatureType.FLOAT64, [1.5, None]),
        ("nullif(n, 3)", FeatureType.INT64, [None, 4]),
        ("NULL", FeatureType.STRING, [None, None]),
        ("1", FeatureType.FLOAT64, [1.0, 1.0]),
    ],
)
def test_an_expression_is_a_column(duck: Expressions, sql: str, kind: FeatureType, values: list[Any]) -> None:
    [found] = duck.query([step(sql, kind)], TYPES)(ROWS)
    assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("random()", r"calls random\(\), which gives another value each time"),
        ("epoch_ms(now())", "gives another value"),
        ("list_transform(items, lambda v: random())", "gives another value"),
        ("ago(INTERVAL 1 DAY)", "calls ago.*current_timestamp"),
        ("current_timestamp", "reads 'current_timestamp'; there are at, amount"),
        ("CURRENT_DATE", "reads 'current_date'"),
        ("current_setting('threads')", "gives another value"),
        ("sum(n)", "no function of one row"),
        ("count(*)", "no function of one row"),
        ("geomean(n)", "no function of one row"),
        ("unnest(items)", "no function of one row"),
        ("row_number() OVER ()", "a window function"),
        ("n + (SELECT 1)", "a subquery"),
        ("EXISTS (FROM range(3))", "a subquery"),
        ("*", "a list of columns"),
        ("n + ?", "a parameter"),
        ("n, ok", "not one expression"),
        ("n AS other", "not one expression"),
        ("n FROM range(3)", "not one expression"),
        ("n WHERE ok", "not one expression"),
        ("n UNION SELECT 2", "not one expression"),
        ("n; SELECT 1", "not one expression"),
        ("n; DROP TABLE x", "cannot be read"),
        ("n) AS a, (n", "cannot be read: syntax error"),
        ("", "cannot be read"),
        ("nobody + 1", "reads 'nobody'; there are at, amount"),
        ("other.n", "reads 'other.n'"),
        ("no_such(n)", "no function of one row"),
        ("n + place", "cannot be computed: "),
        ("upper(place)", "gives VARCHAR, but int64 is declared: cast it to BIGINT"),
        ("amount", "gives DOUBLE, but int64 is declared"),
        ("items", r"gives BIGINT\[\], but int64 is declared"),
        ("read_text('/etc/passwd')", "no function of one row"),
    ],
)
def test_what_is_more_than_an_expression_over_the_row_is_refused(
    duck: Expressions, sql: str, says: str
) -> None:
    with pytest.raises(FeatureError, match=says) as caught:
        duck.query([step(sql, FeatureType.INT64)], TYPES)
    assert "the expression of 'x'" in str(caught.value) and "\n" not in str(caught.value)


def test_columns_that_differ_in_case_only_cannot_be_told_apart(duck: Expressions) -> None:
    with pytest.raises(FeatureError, match="upper and lower case"):
        duck.query([step("n", FeatureType.INT64)], {**TYPES, "N": FeatureType.INT64})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO 'here.csv'",
        "ATTACH 'here.db'",
        "LOAD httpfs",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET threads = 2",
    ],
)
def test_its_database_reaches_nothing(duck: Expressions, tmp_path: Path, sql: str) -> None:
    with pytest.raises(Exception, match=r"(?i)disabled|cannot|locked"):
        duck.connection().execute(sql.replace("here", str(tmp_path / "here")))
    assert not list(tmp_path.iterdir())


def test_expressions_read_those_before_them_in_their_declared_type(duck: Expressions) -> None:
    run = [
        step("n + 1", FeatureType.FLOAT64, "a"),
        step("a || ''", FeatureType.STRING, "b"),
        step("n * 2", FeatureType.INT64, "c"),
        step("b || c", FeatureType.STRING, "d"),
    ]
    found = duck.query(run, TYPES)(ROWS)
    assert [c.to_pylist() for c in found] == [[4.0, 5.0], ["4.0", "5.0"], [6, 8], ["4.06", "5.08"]]


def test_a_query_fails_for_the_rows_at_fault_and_works_again_after(duck: Expressions) -> None:
    query = duck.query([step("CAST(place AS INTEGER)", FeatureType.INT64)], TYPES)
    for _ in range(3):
        with pytest.raises(FeatureError, match="SQL failed for 'x': Could not convert string 'abc'"):
            query(ROWS)
        assert query(ROWS.slice(1))[0].to_pylist() == [12]
    assert query(ROWS.slice(0, 0))[0].to_pylist() == []


def test_rows_keep_their_order_however_many_there_are(duck: Expressions) -> None:
    """More than DuckDB takes at once."""
    query = duck.query([step("n + 1", FeatureType.INT64)], {"n": FeatureType.INT64})
    rows = pa.record_batch({"n": pa.array(range(150_000), pa.int64())})
    assert query(rows)[0].to_pylist() == list(range(1, 150_001))


INTEGERS = st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=30)


@given(INTEGERS, st.integers(1, 7))
@settings(max_examples=30)
def test_values_do_not_depend_on_how_events_are_batched(values: list[int | None], size: int) -> None:
    duck = Expressions()
    try:
        query = duck.query([step("n // 7 + n % 7", FeatureType.INT64)], {"n": FeatureType.INT64})
        whole = pa.record_batch({"n": pa.array(values, pa.int64())})
        parts = [query(whole.slice(at, size))[0].to_pylist() for at in range(0, len(values), size)]
    finally:
        duck.close()
    wanted = [None if v is None else _quotient(v) + v - 7 * _quotient(v) for v in values]
    assert [v for part in parts for v in part] == wanted


def _quotient(value: int) -> int:
    """Towards zero, unlike Python's."""
    return value // 7 if value >= 0 else -(-value // 7)


SIGNALS = Source(
    name="signals",
    columns=(
        Column(name="id", type=FeatureType.STRING),
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="amount", type=FeatureType.STRING),
    ),
    event_time="at",
    event_id="id",
)


def view(*steps: Expression | Function, **more: Any) -> Declarations:
    of: dict[str, Any] = {
        "name": "v",
        "version": 1,
        "entity": ("who",),
        "source": "signals",
        "features": (
            Value(name="money"),
            Aggregate(name="total", of=Sum(column="money"), window=Trailing(span="1 h")),
            Aggregate(name="big", of=Count(), where="is_big", window=Trailing(span="1 h")),
        ),
        "ttl": "1 d",
        "owner": "tests",
        "description": "SQL.",
    }
    return Declarations(sources=(SIGNALS,), views=(FeatureView(**{**of, **more}, steps=steps),))


STEPS = (
    step("lower(account)", FeatureType.STRING, "who"),
    step("CAST(amount AS DOUBLE)", FeatureType.FLOAT64, "money"),
    Function(name="root", function="tests.feature_steps:root", inputs=("money",), type=FeatureType.FLOAT64),
    step("root > 2", FeatureType.BOOL, "is_big"),
)


def test_sql_and_python_steps_follow_each_other_and_bad_events_stand_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode_events, "_now", lambda: START + 10**9)
    harness = FeatureHarness(view(*STEPS))
    amounts = ["4", "nonsense", "9", "16", "-2", "25"]
    harness.send(
        [{"id": str(i), "account": "aA"[i % 2], "at": START + i, "amount": a} for i, a in enumerate(amounts)]
    )
    harness.end()
    rows = [(r["who"], r["money"], r["total"], r["big"]) for r in harness.final("v_v1")]
    assert rows == [("a", 4.0, 4.0, 0), ("a", 9.0, 13.0, 1), ("a", 16.0, 29.0, 2), ("a", 25.0, 54.0, 3)]
    assert [(d.code, d.offset) for d in harness.dead] == [("step_failed", 1), ("step_failed", 4)]
    assert "Could not convert string 'nonsense'" in harness.dead[0].reason


def test_a_bad_expression_is_named_with_its_view_when_declarations_are_read(tmp_path: Path) -> None:
    file = tmp_path / "views.py"
    file.write_text("from tests.unit.test_feature_expressions import bad\nDECLARATIONS = bad()\n")
    with pytest.raises(FeatureError, match=r"views\.py: view v_v1: the expression of 'money' calls now\(\)"):
        load_declarations(file)


def bad() -> Declarations:
    return view(STEPS[0], step("epoch_ms(now())", FeatureType.FLOAT64, "money"), *STEPS[2:])


def test_an_expression_cannot_read_a_step_that_comes_later() -> None:
    with pytest.raises(FeatureError, match="'money' reads 'root'"):
        check_expressions(view(STEPS[0], step("root", FeatureType.FLOAT64, "money"), *STEPS[2:]))


def test_a_process_that_has_used_it_ends_without_a_word() -> None:
    """What a refusal at the start prints is one sentence."""
    code = (
        "from tests.unit.test_feature_expressions import STEPS, view, bad\n"
        "from udfs.features.steps import check_expressions\n"
        "check_expressions(view(*STEPS))\n"
        "try:\n    check_expressions(bad())\nexcept Exception as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1


def test_steps_of_a_view_are_made_of_its_columns(duck: Expressions) -> None:
    declared = view(*STEPS[:2], STEPS[2], STEPS[3])
    steps = steps_before(declared.views[0], declared, duck)
    rows = pa.record_batch({"id": ["1"], "account": ["B"], "at": [START], "amount": ["4"]})
    assert steps.apply(rows).to_pylist()[0] | {"root": 2.0, "is_big": False, "who": "b"} == {
        "id": "1", "account": "B", "at": START, "amount": "4", "who": "b", "money": 4.0, "root": 2.0,
        "is_big": False,
    }  # fmt: skip
