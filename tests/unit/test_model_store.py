"""A model store holds each content once, and descriptors say where."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from schemas.errors import StoreError
from schemas.model_pb2 import ModelDescriptor
from udfs.models.composite.nodes import MEAN, Graph, Node, OutputRef
from udfs.models.descriptor import build, parse
from udfs.models.local_folder import path_of
from udfs.models.model_store import ModelStore, StoreSpec

CONTENT = b"<PMML/>"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def kept(root: str, descriptor: bytes) -> ModelDescriptor:
    return ModelDescriptor.FromString(ModelStore(StoreSpec(root)).keep(descriptor, parse(descriptor)))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_content_lies_under_its_digest_and_the_descriptor_says_where(tmp_path: Path):
    root = tmp_path / "not yet" / "there"
    descriptor = build(data_type="t", name="n", version=3, data=CONTENT, model_type="PMML")
    found = kept(root.as_uri(), descriptor)
    assert files(root) == {DIGEST: CONTENT}
    assert not found.HasField("data") and path_of(found.location) == root / DIGEST
    assert (found.sha256, found.size) == (DIGEST, len(CONTENT))
    before = ModelDescriptor.FromString(descriptor)
    for message in (found, before):
        for name in ("data", "location", "sha256", "size"):
            message.ClearField(name)
    assert found == before, "all else is as it came"
    assert parse(ModelStore(StoreSpec(root.as_uri())).keep(descriptor, parse(descriptor))).data is None


def test_the_same_content_is_not_written_again(tmp_path: Path):
    root = tmp_path.as_uri()
    first = kept(root, build(data_type="t", name="n", data=CONTENT))
    os.utime(tmp_path / DIGEST, ns=(1, 1))
    again = kept(root, build(data_type="u", name="m", data=CONTENT))
    assert again.location == first.location
    assert (tmp_path / DIGEST).stat().st_mtime_ns == 1 and set(files(tmp_path)) == {DIGEST}


def test_a_content_that_was_cut_is_written_again(tmp_path: Path):
    (tmp_path / DIGEST).write_bytes(CONTENT[:3])
    kept(tmp_path.as_uri(), build(data_type="t", name="n", data=CONTENT))
    assert files(tmp_path) == {DIGEST: CONTENT}


def test_a_digest_that_the_descriptor_brings_stays(tmp_path: Path):
    wrong = "0" * 64
    found = kept(tmp_path.as_uri(), build(data_type="t", name="n", data=CONTENT, sha256=wrong))
    assert found.sha256 == wrong, "whoever loads it finds out"
    assert files(tmp_path) == {DIGEST: CONTENT}


def test_without_a_store_and_without_a_content_nothing_changes(tmp_path: Path):
    inline = build(data_type="t", name="n", data=CONTENT)
    assert ModelStore(StoreSpec()).keep(inline, parse(inline)) == inline
    located = build(data_type="t", name="n", location="file:///models/m.pmml")
    assert ModelStore(StoreSpec(tmp_path.as_uri())).keep(located, parse(located)) == located
    assert files(tmp_path) == {} and StoreSpec().roots == () and StoreSpec("file:/m").roots == ("file:/m",)


@pytest.mark.parametrize("below", ["models", "a/deep/folder"])
def test_a_root_that_cannot_be_written_is_a_store_error(tmp_path: Path, below: str):
    (tmp_path / "file").write_bytes(b"")  # also in the way of root, who may write everywhere
    root = (tmp_path / "file" / below).as_uri()
    descriptor = build(data_type="t", name="n", data=CONTENT)
    with pytest.raises(StoreError, match=r"cannot be written.*model_store"):
        ModelStore(StoreSpec(root)).keep(descriptor, parse(descriptor))


def test_the_contents_of_a_graph_lie_apart_and_each_node_says_where(tmp_path: Path):
    graph = Graph(
        (
            Node("one", "PMML", data=CONTENT),
            Node("two", "PMML", data=b"other"),
            Node("three", "PMML", location="file:///models/m.pmml"),
            Node("all", combine=MEAN, of=(OutputRef("one"), OutputRef("two"), OutputRef("three"))),
        )
    )
    found = kept(tmp_path.as_uri(), build(data_type="t", name="g", model_type="GRAPH", graph=graph))
    other = hashlib.sha256(b"other").hexdigest()
    assert files(tmp_path) == {DIGEST: CONTENT, other: b"other"}
    one, two, three, combined = found.graph.nodes
    assert [path_of(node.location).name for node in (one, two, three)] == [DIGEST, other, "m.pmml"]
    assert not any(node.HasField("data") for node in found.graph.nodes) and not combined.location
    assert (one.sha256, two.sha256) == (DIGEST, other) and not found.location
