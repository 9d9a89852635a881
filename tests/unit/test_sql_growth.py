"""SQL steps that would make more than memory holds, or take for ever: refused when they are declared."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from schemas.errors import FeatureError
from schemas.features.declarations import Expression, FeatureType
from udfs.features.expressions import Expressions

S, N, X, B = FeatureType.STRING, FeatureType.INT64, FeatureType.FLOAT64, FeatureType.BOOL
NS, SS = FeatureType.INT64_LIST, FeatureType.STRING_LIST
TYPES = {"s": S, "n": N, "x": X, "l": NS, "t": SS}


@pytest.fixture(scope="module")
def duck() -> Iterator[Expressions]:
    made = Expressions()
    yield made
    made.close()


def step(sql: str, kind: FeatureType, name: str = "q") -> Expression:
    return Expression(name=name, sql=sql, type=kind)


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("repeat(s, n)", S, r"repeat\(\) with a size that is no number written out, up to 1000"),
        ("repeat('x', CAST(x AS BIGINT))", S, r"repeat\(\) with a size"),
        ("length(repeat(s, n))", N, r"repeat\(\) with a size"),
        ("n BETWEEN length(lpad(s, n, 'x')) AND 3", B, r"lpad\(\) with a size"),
        ("CASE WHEN len(range(n)) > 3 THEN 1 ELSE 2 END", N, r"range\(\) with a size"),
        ("len(generate_series(0, n, 1))", N, r"generate_series\(\) with a size"),
        ("list_resize(l, n)", NS, r"list_resize\(\) with a size"),
        ("repeat(s, 100)", S, "may make 100 times what it reads, and 64 is the most"),
        ("repeat(repeat(s, 10), 10)", S, "may make 100 times"),
        ("||".join(["s"] * 65), S, "may make 65 times"),
        ("list_transform(t, lambda v: v || s)", SS, "reads 's', which has no fixed size, for each element"),
        ("list_transform(l, lambda v: list_transform(l, lambda w: w + v))", SS, "reads 'l'"),
        ("list_transform(l, lambda v: rpad('x', 1000, 'y'))", SS, "may make 1"),
        ("list_transform(l, lambda v: '" + "x" * 600 + "')", SS, "may make"),
        ("list_reduce(t, lambda a, b: a || a)", S, "no bound"),
        ("replace(s, 'a', s)", S, r"replace\(\) with something else than a text written out at place 3"),
        ("regexp_replace(s, 'a', s, 'g')", S, "place 3"),
        ("regexp_replace(s, '(.)', '" + r"\1" * 40 + "', 'g')", S, "may make 81 times"),
        ("array_to_string(t, s)", S, "place 2"),
        ("list_aggregate(t, 'string_agg', s)", S, "not known"),
        ("format('{:1000000}', s)", S, "a width that is too large, or comes from the row"),
        ("printf('%*d', n, n)", S, "a width"),
        ("levenshtein(s, s)", N, "no bound"),
        ("s LIKE s", B, "place 2"),
        ("s LIKE '" + "%_" * 9 + "'", B, "more than 8 wildcards"),
        ("json_extract_string(s, '$..a')", S, "finds the same part many times"),
        ("json_pretty(s)", S, "not known"),
        ("s.upper()", S, "as a method"),
        ("(" * 40 + "n" + ")" * 40, N, "40 brackets open at once, and 32 are the most"),
        ("n" + "+1" * 1900, N, "depth|deep"),
        ("NOT " * 900 + "true", B, "depth|deep"),
        ("- " * 900 + "n", N, "depth|deep"),
        ("n + 1" + " " * 4000, N, "4005 characters, and 4000 are the most"),
    ],
)
def test_what_may_make_too_much_is_refused(duck: Expressions, sql: str, kind: FeatureType, says: str):
    with pytest.raises(FeatureError, match=says) as caught:
        duck.query([step(sql, kind)], TYPES)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("sql", "kind", "value"),
    [
        ("repeat(s, 3)", S, "aaa"),
        ("lpad(s, 3, '0')", S, "00a"),
        ("list_sum(l) + len(range(5))", N, 11),
        ("[v * 2 for v in l if v > 1]", NS, [4, 6, 8][:2]),
        ("list_transform(t, lambda v: v || '!')", SS, ["x!", "y!"]),
        ("string_split(s, ',')[1]", S, "a"),
        ("array_to_string(t, '-')", S, "x-y"),
        ("replace(s, 'a', 'bcd')", S, "bcd"),
        ("format('{}-{}', s, n)", S, "a-7"),
        ("s LIKE '%a%' AND s IN ('a', 'b')", B, True),
        ("list_append(l, n)", NS, [1, 2, 3, 7]),
        ("concat_ws('/', s, s, CAST(n AS VARCHAR))", S, "a/a/7"),
        ("n" + "+1" * 40, N, 47),
        ("md5(s)", S, "0cc175b9c0f1b6a831c399e269772661"),
    ],
)
def test_what_is_bounded_is_computed(duck: Expressions, sql: str, kind: FeatureType, value: object):
    rows = pa.record_batch(
        {"s": ["a"], "n": [7], "x": [1.5], "l": [[1, 2, 3]], "t": [["x", "y"]]},
        pa.schema(
            {"s": pa.string(), "n": pa.int64(), "x": pa.float64(), "l": pa.list_(pa.int64())}
            | {"t": pa.list_(pa.string())}
        ),
    )
    [found] = duck.query([step(sql, kind)], TYPES)(rows)
    assert found.to_pylist() == [value]


def test_what_steps_make_of_each_other_adds_up(duck: Expressions):
    doubling = [step("s || s", S, "a0"), *(step(f"a{i} || a{i}", S, f"a{i + 1}") for i in range(5))]
    duck.query(doubling, TYPES)
    with pytest.raises(FeatureError, match="the expression of 'a6' may make 128 times"):
        duck.query([*doubling, step("a5 || a5", S, "a6")], TYPES)
    measured = [*doubling[:3], step("length(a2)", N, "m"), step("repeat('x', 5) || m", S, "b")]
    duck.query(measured, TYPES)
