"""Publications: what older and newer producers send, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DescriptorError, PlanError
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import ByHash, Plan, read_plan, write_plan
from udfs.models.descriptor import DECIDE, PLAN_NAME, SERVE, WITHDRAW, build, parse
from udfs.models.runtimes.base import PartialInput


def test_an_older_producer_s_bytes_are_completed_from_what_they_carry():
    # Written by hand on the wire: name=1, description=2, dataType=3, modeltype=4, data=5.
    data = b"\x0a\x01n\x12\x01d\x1a\x04wine\x20\x02\x2a\x03abc"
    a = parse(data)
    assert (a.name, a.description, a.data_type, a.model_type) == ("n", "d", "wine", "PMML")
    assert (a.data, a.location, a.size) == (b"abc", None, 3)
    assert a.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (a.version, a.created_ms, a.inputs, a.outputs, a.operation, a.force) == (
        0,
        0,
        (),
        (),
        SERVE,
        False,
    )


def test_an_older_producer_s_location_has_no_digest():
    a = parse(b"\x1a\x04wine\x20\x01\x32\x07file:/m")
    assert (a.location, a.data, a.sha256, a.size) == ("file:/m", None, "", 0)
    assert (a.name, a.model_type) == ("wine", "TENSORFLOWSAVED")


def test_everything_a_publisher_says_comes_back():
    inputs = (PartialInput("x", "float32", (2,), ("a", "b")), PartialInput("y"))
    a = parse(
        build(
            data_type="wine",
            name="forest",
            model_type="PMML",
            description="of the north",
            location="s3://models/forest.pmml",
            version=2**63,
            created_ms=1_700_000_000_000,
            sha256="AB" * 32,
            size=7,
            inputs=inputs,
            outputs=[("quality", "score"), ("p", "")],
            metrics={"f1": 0.5, "accuracy": 0.75},
            signature="predict",
            force=True,
        )
    )
    assert a.inputs == inputs
    assert a.outputs == (("quality", "score"), ("p", "p"))
    assert a.metrics == (("accuracy", 0.75), ("f1", 0.5))
    assert (a.version, a.sha256, a.size, a.signature, a.force) == (2**63, "ab" * 32, 7, "predict", True)
    assert a.wanted(("a", "b")).fields == ("a", "b")
    assert pickle.loads(pickle.dumps(a)) == a


def test_an_unpublishing_needs_no_content():
    a = parse(build(data_type="wine", operation=WITHDRAW))
    assert (a.operation, a.data, a.location, a.name) == (WITHDRAW, None, None, "")
    assert parse(build(data_type="wine", name="forest", operation=WITHDRAW)).name == "forest"


def _message(**changes) -> bytes:
    return ModelDescriptor(**{"dataType": "wine", "data": b"abc", **changes}).SerializeToString()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\xff\xff", "not a ModelDescriptor"),
        (b"", "names no dataType"),
        (_message(dataType="  "), "names no dataType"),
        (_message(data=b""), "carries no model"),
        (ModelDescriptor(dataType="wine").SerializeToString(), "carries no model"),
        (ModelDescriptor(dataType="wine", location=" ").SerializeToString(), "carries no model"),
        (_message() + b"\x20\x09", "unknown modeltype 9"),
        (_message() + b"\x70\x09", "unknown operation 9"),
        (_message(size=4), "says 4 bytes and carries 3"),
        (_message(sha256="abc"), "not 64 hex digits"),
        (_message(created_ms=-1), "before 1970"),
        (_message(metrics={"accuracy": float("nan")}), "finite"),
        (_message(inputs=[{"name": "x", "dtype": "half"}]), "dtype 'half'"),
        (_message(inputs=[{"name": "x", "shape": [-1, 2]}]), "sizes are 1 or more"),
        (_message(inputs=[{"name": "x"}, {"name": "x"}]), "twice"),
        (_message(inputs=[{"name": "x", "fields": ["a", "a"]}]), "repeated"),
        (_message(inputs=[{"name": "x", "shape": [3], "fields": ["a", "b"]}]), "given 2 fields"),
        (_message(inputs=[{"dtype": "float32"}]), "input without a name"),
        (_message(outputs=[{"name": "a", "alias": "s"}, {"name": "s"}]), "'s' twice"),
        (_message(outputs=[{"alias": "s"}]), "output without a name"),
        (_message(name="\x01" * 250_000), "name .* of 250,000 characters; 200 are the most"),
        (_message(name="a\x1b[2Jb"), "name 'a.*with characters that are not printed"),
        (_message(dataType="t" * 201), "dataType .* of 201 characters"),
        (_message(outputs=[{"name": "y", "alias": "s" * 201}]), "output .* of 201 characters"),
    ],
)
def test_what_cannot_be_acted_on_is_refused_with_the_reason(data, word):
    with pytest.raises(DescriptorError, match=word) as refused:
        parse(data)
    assert refused.value.step == "descriptor"


def test_a_publisher_cannot_send_what_would_be_refused():
    with pytest.raises(DescriptorError, match="not both"):
        build(data_type="wine", data=b"a", location="file:/a")
    with pytest.raises(DescriptorError, match="carries no model"):
        build(data_type="wine")
    with pytest.raises(DescriptorError, match="no descriptor can be made"):
        build(data_type="wine", data=b"a", model_type="TFLITE")
    with pytest.raises(DescriptorError, match="no descriptor can be made"):
        build(data_type="wine", data=b"a", version=-1)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_descriptor_error(data):
    try:
        a = parse(data)
    except DescriptorError:
        return
    assert a.data_type
    assert [a.data, a.location, a.graph].count(None) == 2 or a.operation == WITHDRAW


def test_a_plan_travels_without_a_model():
    plan = Plan(route=ByHash({"a": 1.0}), deadline_ms=7)
    text = write_plan(plan).decode()
    a = parse(build(data_type="t", operation=DECIDE, plan=text, version=3))
    assert (a.operation, a.name, a.version, a.data, a.location) == (DECIDE, PLAN_NAME, 3, None, None)
    assert read_plan(a.plan) == plan
    assert (a.sha256, a.size) == (hashlib.sha256(text.encode()).hexdigest(), len(text))
    other = parse(build(data_type="t", operation=DECIDE, name="night", plan=text.replace("7", "8")))
    assert other.name == "night" and other.sha256 != a.sha256


def test_a_publisher_cannot_build_a_plan_that_cannot_be_read():
    with pytest.raises(PlanError, match="deadline_ms"):
        build(data_type="t", operation=DECIDE, plan='{"deadline_ms": 0}')


def test_a_plan_that_cannot_be_read_is_parsed_all_the_same():
    # it is refused by the job that would follow it, under its own name and version
    message = ModelDescriptor(dataType="t", operation=ModelDescriptor.DECIDE, plan="{", version=2)
    a = parse(message.SerializeToString())
    assert (a.name, a.version, a.plan) == (PLAN_NAME, 2, "{")


@pytest.mark.parametrize("depth", [100, 900, 100_000])
@pytest.mark.parametrize("strings", [False, True])
def test_values_nested_without_end_are_refused(depth: int, strings: bool):
    """By an error of the descriptor: any other ends the job that reads it."""
    deep = ('["]",' if strings else "[") * depth + "1" + "]" * depth
    of_input = ModelDescriptor(dataType="wine", data=b"m")
    of_input.inputs.add(name="x", constant=deep)
    with pytest.raises(DescriptorError, match=r"input 'x' has the constant .* nested"):
        parse(of_input.SerializeToString())
    of_field = ModelDescriptor(dataType="wine", data=b"m")
    of_field.record_fields.add(name="f", default=deep)
    with pytest.raises(DescriptorError, match="field 'f': it is nested"):
        parse(of_field.SerializeToString())


def test_many_declared_fields_take_time_in_proportion():
    message = ModelDescriptor(dataType="wine", data=b"m")
    for number in range(20_000):
        message.record_fields.add(name=str(number))
    started = time.perf_counter()
    assert len(parse(message.SerializeToString()).readings) == 20_000
    assert time.perf_counter() - started < 3
