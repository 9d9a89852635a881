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
        ("list_transform(l, lambda v: rpad('x', 1000, 'y'))", SS, "may make 501 times"),
        ("list_transform(l, lambda v: '" + "x" * 600 + "')", SS, "may make"),
        ("list_transform(range(1000), lambda v: range(1000))", NS, "may make 3[0-9]{7} bytes"),
        ("list_transform(l)", NS, "not known"),
        (
            "bitstring('1', 1000000000)::VARCHAR",
            S,
            r"calls bitstring\(\), and how much that makes is not known",
        ),
        ("length(bitstring('1', 1500000000)::VARCHAR)", N, r"calls bitstring\(\)"),
        ("set_bit(x::BIGINT::BIT, 0, 1)::VARCHAR", S, r"calls set_bit\(\)"),
        ("s::BLOB::BIT::BIT::VARCHAR", S, "may make 128 times"),
        ("repeat(repeat(repeat('a', 1000), 1000), 500)", S, "may make 1000000 bytes beside what it reads"),
        ("length(repeat(repeat('a', 1000), 1000))", N, "and 65536 are the most"),
        ("list_resize(l, 1000, 'a-' || s)", SS, "may make 1002 times"),
        ("NULL::INTEGER[100000]::INTEGER[]", NS, "casts to an array"),
        ("format('" + "{:>999}" * 20 + "', s)", S, "may make 95256 bytes"),
        ("strftime(epoch_ms(n), repeat('%c', 900)) || repeat(strftime(epoch_ms(n), s), 5)", S, "80 times"),
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


@pytest.mark.parametrize(
    ("first", "then", "kind"),
    [
        ("'" + "x" * 500 + "'", "concat(" + ",".join(["{}"] * 150) + ")", S),
        ("n::VARCHAR", "concat(" + ",".join(["{}"] * 150) + ")", S),
        ("list_value(" + ",".join("n" * 500) + ")", "list_concat(" + ",".join(["{}"] * 300) + ")", NS),
    ],
)
def test_what_steps_make_of_constants_and_numbers_adds_up(
    duck: Expressions, first: str, then: str, kind: FeatureType
):
    """Four such steps made 500 MB of one row that held nothing but a number."""
    duck.query([step(first, kind, "a")], TYPES)
    steps = [step(first, kind, "a"), step(then.format(*["a"] * 300), kind, "b")]
    steps.append(step(then.format(*["b"] * 300), kind, "c"))
    with pytest.raises(FeatureError, match="bytes beside what it reads, and 65536 are the most"):
        duck.query(steps, TYPES)


def test_what_makes_too_much_is_not_given_to_the_database(duck: Expressions, monkeypatch: pytest.MonkeyPatch):
    """It computes constants when it is asked for an expression's type."""
    monkeypatch.setattr(Expressions, "_typed", lambda *_: pytest.fail("asked"))
    with pytest.raises(FeatureError, match="may make"):
        duck.query([step("length(repeat(repeat('a', 1000), 1000))", N)], TYPES)
