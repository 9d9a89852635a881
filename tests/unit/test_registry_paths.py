"""JMESPath expressions into answers: refused where they are too long, too deep, or make too much."""

from __future__ import annotations

import pytest

from schemas.features.declarations import FeatureType
from udfs.enrichment.http_answer import AnswerError, values_of
from udfs.enrichment.submission import LONGEST, read_submission
from udfs.stores.registry.base import OnDemand
from udfs.stores.registry.paths import PathError, compiled

DOUBLING = " | ".join(["[@, @]"] * 40)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a." * 600 + "a", "characters"),
        ("[" * 20 + "@" + "]" * 20, "20 brackets open at once"),
        (" || ".join(["a"] * 90), "64 deep"),
        ("!" * 900 + "a", "deep|read"),
        (DOUBLING[:900].rsplit(" | ", 1)[0], "copies|deep"),
        ("[@, @] | [@, @][] | [@, @][] | [@, @][] | [@, @][]", "32 copies"),
        ("join(a, b)", "no bound"),
        ("map(&join(a, b), c)", "no bound"),
        ("a..b", "no JMESPath expression"),
    ],
)
def test_what_is_too_much_is_refused(path: str, says: str):
    with pytest.raises(PathError, match=says):
        compiled(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b[0]", 1), ("a.b[?@ > `1`] | [0]", 2), ("[a.b[0], a.b[1]]", [1, 2]), ("length(a.b)", 3)],
)
def test_what_is_bounded_is_followed(path: str, value: object):
    assert compiled(path).search({"a": {"b": [1, 2, 3]}}) == value


def test_an_answer_that_is_too_deep_has_no_values():
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    how = OnDemand("v_v1", "http://127.0.0.1:1/", (("x", "length(to_string(@))"),))
    try:
        found = values_of(deep, how, {"x": FeatureType.INT64})
    except AnswerError as e:
        assert len(str(e)) < 300
    else:
        assert found["x"] > 900


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"model":"' + b"m" * 300 + b'","entities":{}}', b" " * (LONGEST + 1), b"\xff", b""],
)
def test_a_request_that_is_none_says_why(data: bytes):
    with pytest.raises(ValueError, match="not a prediction request"):
        read_submission(data)
