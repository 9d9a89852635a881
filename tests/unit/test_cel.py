"""CEL rules: the columns give what cel-python gives record by record, and what the specification says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.errors import PlanError
from udfs.ensemble.cel.rules import CelRule

RECORD = {
    "i": 7,
    "d": 1.5,
    "t": True,
    "s": "é-rose",
    "n": None,
    "o": {"x": 1, "y": {"z": "deep"}},
    "l": [1, 2],
    "big": 2**63,
}


def alone(rule: CelRule, record: dict[str, Any]) -> bool:
    """By cel-python, for one record: right for every expression."""
    return rule._holds(record, rule._budget())


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("record.i == 7", True),
        ("record.i == 7.0", True),
        ("record.i > 6.5 && record.d < 2", True),
        ("record.i == '7'", False),
        ("record.i != '7'", True),
        ("record.i > '7'", False),
        ("!(record.i > '7')", False),  # an evaluation that fails is not true either way
        ("record.none == 1 || record.i == 7", True),
        ("record.i == 7 || record.none == 1", True),
        ("!(record.none == 1 && record.i == 8)", True),
        ("record.none == 1 && record.i == 7", False),
        ("record.none != 1", False),
        ("has(record.none)", False),
        ("!has(record.none) && has(record.n) && record.n == null", True),
        ("record.n < 1", False),
        ("record.i in [1, 7.0, 'x']", True),
        ("!(record.s in ['a', 'b'])", True),
        ("record.s.startsWith('é') && record.s.endsWith('rose') && record.s.contains('-')", True),
        ("record.s.size() == 6 && size(record.s) == 6", True),
        ("record.s < 'é-rosf'", True),
        ("record.o.x == 1 && record.o.y.z == 'deep'", True),
        ("record.i.x == 1", False),
        ("record.i / 2 == 3 && -record.i / 2 == -3 && -record.i % 2 == -1", True),
        ("record.i / 0 == 1 || true", True),
        ("record.i / 0 == 1", False),
        ("record.i + 9223372036854775807 > 0", False),
        ("record.i + 1.5 > 0.0", False),  # no automatic conversion
        ("double(record.i) + 1.5 == 8.5", True),
        ("record.d / 0.0 > 1.0 && -record.d / 0.0 < 1.0", True),
        ("record.t ? record.i > 0 : record.none", True),
        ("record.t && !(record.t == 1)", True),
        ("record.big > 9.2e18", True),
        ("9007199254740993 > 9007199254740992.0", True),  # exact, not as doubles
        ("record.l.exists(x, x == 2) && record.l[0] == 1 && size(record.l) == 2", True),
        ("'x' in record.o && record.s.matches('ro[st]e')", True),
        ("record.s + '!' == 'é-rose!'", True),
        ("type(record.i) == int && int(record.d) == 1", True),
        ("record == {'a': 1}", False),
        ("record.i", False),
        ("99999999999999999999 == 1 || true", True),
    ],
)
def test_what_an_expression_says_of_a_record(when: str, holds: bool):
    rule = CelRule(when)
    assert rule.holds([RECORD]).tolist() == [holds] == [alone(rule, RECORD)]


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("", "no CEL expression"),
        ("record.a >", "no CEL expression .line 1, column"),
        ("record.a = 1", "no CEL expression"),
        ("alcohol > 11.0", "names alcohol; rules are about 'record'"),
        ("record.a.foo() && bar(1)", "names bar, foo;"),
        (".record.a == 1", "names .record"),
    ],
)
def test_an_expression_that_cannot_be_meant_is_refused_in_one_sentence(when: str, why: str):
    with pytest.raises(PlanError, match=why) as refused:
        CelRule(when)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        ("record.a > 1 && has(record.b.c)", {"a", "b"}),
        ("record.l.exists(x, x > record.z)", {"l", "z"}),
        ("true", set()),
        ("record['a'] == 1", None),
        ("'a' in record && record.b == 1", None),
    ],
)
def test_a_rule_knows_its_fields(when: str, fields: set[str] | None):
    assert CelRule(when).fields == fields


def test_the_common_part_of_the_language_goes_by_columns(monkeypatch):
    common = (
        "record.i > 6.5 && (record.s in ['a', 'é-rose'] || has(record.o.x)) && !record.s.startsWith('a') "
        "&& (record.t ? double(record.i) * 2.0 : record.d) == 14.0 && record.n == null && record.i % 2 == 1"
    )
    rule = CelRule(common)
    monkeypatch.setattr(CelRule, "_one_by_one", None)
    assert rule.holds([RECORD, RECORD | {"i": 6}, {}]).tolist() == [True, False, False]


# Expressions of a grammar around the common part, over records of all kinds.
PATHS = st.sampled_from(["record.a", "record.b", "record.c", "record.a.b", "record.b.c"])
INTS = st.sampled_from([0, 1, -1, 2, 7, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)])
DOUBLES = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.5, 7.0, 2.0**53, 2.0**63, -(2.0**63), 1e308, 5e-324])
STRINGS = st.sampled_from(["", "a", "ab", "b", "é", "😀"])


def literal(value: object) -> str:
    return repr(value) if isinstance(value, (int, float)) else f"'{value}'"


LITERALS = (INTS | DOUBLES | STRINGS).map(literal) | st.sampled_from(["true", "false", "null"])
LEAVES = PATHS | PATHS | LITERALS


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||"])
    return st.one_of(
        st.tuples(inner, binary, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from("!-"), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        st.tuples(inner, st.lists(LITERALS, max_size=3)).map(lambda t: f"({t[0]} in [{', '.join(t[1])}])"),
        st.tuples(inner, st.sampled_from(["startsWith", "endsWith", "contains"]), inner).map(
            lambda t: f"({t[0]}).{t[1]}({t[2]})"
        ),
        inner.map(lambda e: f"size({e})"),
        inner.map(lambda e: f"({e}).size()"),
        inner.map(lambda e: f"double({e})"),
        PATHS.map(lambda p: f"has({p})"),
    )


EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=6)
VALUES = st.recursive(
    INTS | DOUBLES | STRINGS | st.booleans() | st.none() | st.just(2**70) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=3,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=6)


@given(EXPRESSIONS, RECORDS)
@settings(max_examples=150)
@example("record.a == 1 || record.b", [{"a": 1}, {"b": True}, {}])
def test_columns_give_what_cel_python_gives(when: str, records: list[dict]):
    rule = CelRule(when)
    assert rule.holds(records).tolist() == [alone(rule, record) for record in records]


# The same for expressions that mostly fit their records, so that most of them go by columns.
def joined(
    a: st.SearchStrategy[str], operators: list[str], b: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    return st.tuples(a, st.sampled_from(operators), b).map(lambda t: f"({t[0]} {t[1]} {t[2]})")


STRING = st.just("record.c") | STRINGS.map(literal)
INT = st.recursive(
    st.just("record.a") | INTS.map(literal) | STRING.map(lambda e: f"size({e})"),
    lambda inner: joined(inner, ["+", "-", "*", "/", "%"], inner) | inner.map(lambda e: f"-({e})"),
    max_leaves=3,
)
DOUBLE = st.recursive(
    st.just("record.b") | DOUBLES.map(literal) | INT.map(lambda e: f"double({e})"),
    lambda inner: joined(inner, ["+", "-", "*", "/"], inner) | inner.map(lambda e: f"-({e})"),
    max_leaves=3,
)
ORDERS = ["==", "!=", "<", "<=", ">", ">="]
ANY = INT | DOUBLE | STRING | st.sampled_from(["null", "record.n", "record.t", "record.o.x"])
BOOL = st.recursive(
    st.one_of(
        st.sampled_from(
            ["record.t", "true", "false", "has(record.a)", "has(record.o.x)", "record.n == null"]
        ),
        joined(INT | DOUBLE, ORDERS, INT | DOUBLE),
        joined(STRING, ORDERS, STRING),
        joined(ANY, ["==", "!="], ANY),
        st.tuples(ANY, st.lists(LITERALS, max_size=3)).map(lambda t: f"({t[0]} in [{', '.join(t[1])}])"),
        st.tuples(STRING, st.sampled_from(["startsWith", "endsWith", "contains"]), STRING).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
    ),
    lambda inner: st.one_of(
        joined(inner, ["&&", "||", "==", "!="], inner),
        inner.map(lambda e: f"!({e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
    ),
    max_leaves=4,
)
FITTING = st.fixed_dictionaries(
    {},
    optional={
        "a": INTS,
        "b": DOUBLES | INTS,
        "c": STRINGS,
        "t": st.booleans(),
        "n": st.none() | st.just(1),
        "o": st.sampled_from([{}, {"x": 1}, {"x": "a"}]),
    },
)


@given(BOOL, st.lists(FITTING, max_size=5))
@settings(max_examples=300)
def test_columns_give_what_cel_python_gives_where_types_fit(when: str, records: list[dict]):
    rule = CelRule(when)
    assert rule.holds(records).tolist() == [alone(rule, record) for record in records]
