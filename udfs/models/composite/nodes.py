"""A model made of several models: its nodes, and how they are wired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import DescriptorError

MEAN = "MEAN"
MEDIAN = "MEDIAN"
MAJORITY = "MAJORITY"

_REF = re.compile(r"(?P<node>[A-Za-z0-9_-]+)(\.(?P<output>.+?))?(\[(?P<element>\d{1,9})\])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OutputRef:
    """An output of a node. `output` "": the only one. `element`: one column of a vector, None for all of it.

    >>> OutputRef.read("scaler.z[1]")
    OutputRef(node='scaler', output='z', element=1)
    """

    node: str
    output: str = ""
    element: int | None = None

    @classmethod
    def read(cls, text: str, about: str = "the graph") -> OutputRef:
        """Raises `DescriptorError`."""
        found = _REF.fullmatch(text)
        if found is None:
            raise DescriptorError(f"{about} refers to {text!r}; write node.output, node or node.output[0]")
        element = found["element"]
        return cls(found["node"], found["output"] or "", None if element is None else int(element))

    def __str__(self) -> str:
        output = f".{self.output}" if self.output else ""
        return f"{self.node}{output}" + ("" if self.element is None else f"[{self.element}]")


@dataclass(frozen=True, slots=True)
class NodeInput:
    """An input of a node: a row is the record's `fields` in order, then the outputs `of` other nodes.

    `constant`: instead of both, JSON of the value at every call.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    fields: tuple[str, ...] = ()
    of: tuple[OutputRef, ...] = ()
    constant: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A model (`combine` ""), with content as in an `Publication`, or a combination of outputs `of` others.

    `weights` are for MEAN, one each or none. `outputs` pairs a model output with its name in references.
    """

    name: str
    model_type: str = "TENSORFLOW"
    data: bytes | None = None
    location: str | None = None
    sha256: str = ""
    size: int = 0
    signature: str = ""
    inputs: tuple[NodeInput, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    combine: str = ""
    of: tuple[OutputRef, ...] = ()
    weights: tuple[float, ...] = ()

    def reads(self) -> Iterator[OutputRef]:
        yield from self.of
        for i in self.inputs:
            yield from i.of


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of the descriptor; `fields`: the record's, for nodes that do not name theirs."""

    nodes: tuple[Node, ...]
    fields: tuple[str, ...] = ()
