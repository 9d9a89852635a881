"""The wire format of descriptors: old producers' bytes, built here by hand, and ours are the same."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.model_pb2 import ModelDescriptor
from udfs.models.runtimes.catalogue import MODEL_TYPES

TYPES = {"TENSORFLOW": 0, "TENSORFLOWSAVED": 1, "PMML": 2}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def old_bytes(name: str, description: str, data_type: str, kind: int, content: tuple[int, bytes]) -> bytes:
    """What a proto3 producer that knows fields 1 to 6 sends: in order, defaults left out."""
    texts = ((1, name), (2, description), (3, data_type))
    out = b"".join(chunk(number, text.encode()) for number, text in texts if text)
    if kind:
        out += varint(4 << 3 | 0) + varint(kind)
    return out + chunk(*content)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
contents = st.one_of(
    st.tuples(st.just(5), st.binary(max_size=300)), st.tuples(st.just(6), text.map(str.encode))
)


@given(name=text, description=text, data_type=text, kind=st.sampled_from(list(TYPES)), content=contents)
@settings(max_examples=200)
def test_old_bytes_are_read_and_ours_are_the_same(
    name: str, description: str, data_type: str, kind: str, content: tuple[int, bytes]
):
    data = old_bytes(name, description, data_type, TYPES[kind], content)
    parsed = ModelDescriptor.FromString(data)
    assert (parsed.name, parsed.description, parsed.dataType) == (name, description, data_type)
    assert ModelDescriptor.ModelType.Name(parsed.modeltype) == kind
    which = {5: "data", 6: "location"}[content[0]]
    assert parsed.WhichOneof("content") == which
    found = getattr(parsed, which)
    assert (found if which == "data" else found.encode()) == content[1]
    assert (parsed.version, parsed.created_ms, parsed.sha256, parsed.size, parsed.signature) == (
        0,
        0,
        "",
        0,
        "",
    )
    assert (len(parsed.inputs), len(parsed.outputs), len(parsed.metrics), parsed.force) == (0, 0, 0, False)
    assert parsed.operation == ModelDescriptor.SERVE

    ours = ModelDescriptor(
        name=name, description=description, dataType=data_type, modeltype=kind, **{which: found}
    )
    assert ours.SerializeToString(deterministic=True) == data


def test_the_last_of_data_and_location_counts():
    both = chunk(5, b"model") + chunk(6, b"file:/m")
    assert ModelDescriptor.FromString(both).WhichOneof("content") == "location"


def test_fields_newer_than_ours_survive():
    newer = old_bytes("n", "", "wine", 2, (5, b"m")) + chunk(900, b"later") + varint(901 << 3) + varint(7)
    parsed = ModelDescriptor.FromString(newer)
    assert parsed.name == "n"
    again = parsed.SerializeToString(deterministic=True)
    assert chunk(900, b"later") in again
    assert varint(901 << 3) + varint(7) in again


def test_new_fields_stand_behind_the_old_ones():
    numbers = {f.name: f.number for f in ModelDescriptor.DESCRIPTOR.fields}
    old = {"name": 1, "description": 2, "dataType": 3, "modeltype": 4, "data": 5, "location": 6}
    assert {name: numbers.pop(name) for name in old} == old
    assert min(numbers.values()) == 7
    assert dict(ModelDescriptor.ModelType.items()).items() >= (TYPES | {"GRAPH": 3, "ONNX": 4}).items()
    assert set(ModelDescriptor.ModelType.keys()) == set(MODEL_TYPES)


def test_cut_bytes_are_refused():
    with pytest.raises(DecodeError):
        ModelDescriptor.FromString(old_bytes("name", "", "wine", 2, (5, b"model"))[:-1])
