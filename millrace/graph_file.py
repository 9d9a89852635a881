"""A graph of models as a TOML file: the nodes with their paths, how they are wired, what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from millrace.package import packed, type_of
from schemas.errors import DescriptorError, GraphError
from udfs.models.composite.nodes import Graph, Node, NodeInput, OutputRef
from udfs.models.descriptor_parts import unique
from udfs.models.digest import digest_of


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fields: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    constant: bool | int | float | str | list[Any] | None = None


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    path: str = ""
    type: str = ""
    signature: str = ""
    inputs: dict[str, tuple[str, ...] | _Input] = {}
    outputs: dict[str, str] = {}
    combine: str = ""
    of: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: tuple[_Node, ...]
    fields: tuple[str, ...] = ()
    outputs: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What a graph file says. `outputs` pairs references with names in the result; `files` are the nodes'.

    Nodes up to `inline_limit` bytes in sum carry their content, the largest are at the location of a file.
    """

    graph: Graph
    outputs: tuple[tuple[str, str], ...]
    files: Mapping[str, Path]


def read_graph(path: Path, scratch: Path, inline_limit: int) -> GraphFile:
    """Read a graph file; folders of models are packed below `scratch`, paths are relative to the file.

    Raises `GraphError` for what cannot be understood, and the errors of `type_of`.
    """
    try:
        said = msgspec.toml.decode(path.read_bytes(), type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise GraphError(f"{path.name} is no graph of models: {e}") from None
    models = {n.name: (n, path.parent / n.path) for n in said.node if not n.combine}
    files: dict[str, Path] = {}
    for name, (node, place) in models.items():
        if not node.path or not place.exists():
            raise GraphError(f"node {name!r} of {path.name}: there is no {place if node.path else 'path'}")
        folder = scratch / str(len(files))  # folders of two nodes may have the same name
        folder.mkdir(parents=True)
        files[name] = packed(place, folder).resolve()
    inline = _inline(files, inline_limit)
    try:
        unique((n.name for n in said.node), "node", "it")
        nodes = tuple(
            _combination(n) if n.combine else _model(n, models[n.name][1], files[n.name], n.name in inline)
            for n in said.node
        )
    except DescriptorError as e:
        raise GraphError(f"{path.name}: {e}") from None
    outputs = tuple((ref, name) for name, ref in said.outputs.items())
    return GraphFile(Graph(nodes, said.fields), outputs, files)


def _inline(files: Mapping[str, Path], limit: int) -> set[str]:
    inline, total = set(), 0
    for name in sorted(files, key=lambda name: files[name].stat().st_size):
        total += files[name].stat().st_size
        if total <= limit:
            inline.add(name)
    return inline


def _combination(said: _Node) -> Node:
    if said.path or said.type or said.signature or said.inputs or said.outputs:
        raise DescriptorError(f"node {said.name!r} combines others, so it takes 'of' and 'weights' only")
    of = _refs(said.name, said.of)
    return Node(said.name, combine=said.combine.upper(), of=of, weights=said.weights)


def _model(said: _Node, place: Path, file: Path, inline: bool) -> Node:
    node = Node(
        name=said.name,
        model_type=type_of(place, said.type),
        signature=said.signature,
        inputs=tuple(_input(said.name, name, i) for name, i in said.inputs.items()),
        outputs=tuple((output, alias) for alias, output in said.outputs.items()),
        of=_refs(said.name, said.of),
        weights=said.weights,
    )
    if inline:
        return replace(node, data=file.read_bytes())
    sha256, size = digest_of(file)
    return replace(node, location=file.as_uri(), sha256=sha256, size=size)


def _input(node: str, name: str, said: tuple[str, ...] | _Input) -> NodeInput:
    if not isinstance(said, _Input):
        return NodeInput(name, fields=said)
    constant = "" if said.constant is None else json.dumps(said.constant)
    return NodeInput(name, said.dtype, said.shape, said.fields, _refs(node, said.of), constant)


def _refs(node: str, texts: tuple[str, ...]) -> tuple[OutputRef, ...]:
    return tuple(OutputRef.read(text, f"node {node!r}") for text in texts)
