"""What a compacted model stream keeps is what a job that read all of it would have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, build, parse
from udfs.models.stream_key import stream_key

NAMES = ("forest", "deep/net", "plan", "")


def test_each_name_and_kind_has_a_key_of_its_own():
    keys = [
        stream_key(parse(data))
        for data in (
            build(data_type="wine", name="a", data=b"1"),
            build(data_type="wine", name="b", data=b"1"),
            build(data_type="wine", name="a", operation=WITHDRAW),
            build(data_type="wine", name="a", operation=DECIDE, plan="{}"),
            build(data_type="wine/SERVE", name="a", data=b"1"),
            build(data_type="wine", name="SERVE/a", data=b"1"),
            build(data_type="wine", operation=WITHDRAW),
        )
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == b"wine/SERVE/a"


def test_no_order_about_an_experiment_takes_the_place_of_another():
    """The one that came later may be refused: a controller without its state would know of that one alone."""
    more = {"data_type": "wine", "name": "a", "operation": EXPERIMENT, "experiment": "{}"}
    first, second = (stream_key(parse(build(version=version, **more))) for version in (1, 2))
    assert (first, second) == (b"wine/EXPERIMENT/a/1", b"wine/EXPERIMENT/a/2")


def after(stream) -> tuple[dict[str, int], int]:
    """The version of each model and of the plan, by what withdrawals and newer versions do."""
    models: dict[str, int] = {}
    plan = 0
    for kind, name, version in stream:
        if kind == "SERVE":
            models[name] = version
        elif kind == DECIDE:
            plan = version
        elif name:
            models.pop(name, None)
        else:
            models.clear()
    return models, plan


@given(st.lists(st.tuples(st.sampled_from(["SERVE", WITHDRAW, DECIDE]), st.sampled_from(NAMES)), max_size=30))
def test_compaction_changes_nothing_of_what_serves(sent):
    stream = [
        (kind, name if kind != "SERVE" else name or "t", at + 1) for at, (kind, name) in enumerate(sent)
    ]
    keyed = {}
    for at, (kind, name, version) in enumerate(stream):
        more = {"data": b"x"} if kind == "SERVE" else {"plan": "{}"} if kind == DECIDE else {}
        data = build(data_type="t", name=name, operation=kind, version=version, **more)
        keyed[stream_key(parse(data))] = at
    assert after([stream[at] for at in sorted(keyed.values())]) == after(stream)
