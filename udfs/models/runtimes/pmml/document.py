"""A PMML file as an element tree that is safe to look into, and what the rest needs to know of it.

What the evaluator gets to read is `text()`: this tree written out again, never the bytes that came.
So nothing that was not looked at here (document types, extensions, processing instructions, odd
encodings) reaches it. PMML4S, the evaluator inside pypmml, runs no code out of a document: it has no
script engine and opens no table location (looked up in its sources, 1.5.x). Extensions, which a
consumer may ignore by the standard, are left out all the same.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from schemas.errors import LoadError, UnprovenModelError, UnsafeModelError

_NAMESPACE = re.compile(r"http://www\.dmg\.org/PMML-(3_\d|4_[0-4])$")
_VERSION = re.compile(r"(3\.\d|4\.[0-4])(\.\d+)?$")
_NOT_MODELS = {"Header", "MiningBuildTask", "DataDictionary", "TransformationDictionary"}
_TARGETS = {"target", "predicted"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the data dictionary; `values` are the valid ones it declares, in order.

    `interval`: the bounds of the first interval that it declares, None where one is open to that side.
    """

    name: str
    data_type: str
    optype: str
    values: tuple[str, ...] = ()
    interval: tuple[float | None, float | None] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: PMML elements carry their local names, `model` is its one model element."""

    root: ET.Element
    model: ET.Element
    fields: dict[str, Field]

    @property
    def active(self) -> tuple[Field, ...]:
        """The fields that the model reads, in the order of its mining schema."""
        return tuple(
            self._field(f) for f in mining_fields(self.model) if f.get("usageType", "active") == "active"
        )

    @property
    def targets(self) -> tuple[Field, ...]:
        return tuple(self._field(f) for f in mining_fields(self.model) if f.get("usageType") in _TARGETS)

    @property
    def outputs(self) -> tuple[ET.Element, ...]:
        """The output fields that the model declares itself; empty where it declares none."""
        return tuple(self.model.findall("Output/OutputField"))

    def text(self) -> str:
        """The document as XML text.

        Raises `LoadError` where it is nested too deeply to be written.
        """
        try:
            return ET.tostring(self.root, encoding="unicode")
        except RecursionError:
            raise LoadError(
                "the PMML document is nested too deeply; prune the trees and export again"
            ) from None

    def _field(self, mining_field: ET.Element) -> Field:
        name = mining_field.get("name", "")
        if name not in self.fields:
            raise LoadError(f"mining field {name!r} is not in the data dictionary")
        return self.fields[name]


def mining_fields(model: ET.Element) -> list[ET.Element]:
    return model.findall("MiningSchema/MiningField")


def parse(data: bytes) -> Document:
    """Parse PMML 3.x to 4.4, with or without its namespace; the caller bounds the size.

    Raises `UnsafeModelError` for a DOCTYPE or an entity, `LoadError` for what is malformed or no PMML,
    `UnprovenModelError` where the document leaves open which model or which namespace is meant.
    """
    root, prefixes = _tree(data)
    space = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    if root.tag.rpartition("}")[2] != "PMML" or (space and not _NAMESPACE.match(space)):
        raise LoadError(f"the root element is {root.tag!r}, not PMML 3.x to 4.4")
    if not _VERSION.match(root.get("version", "")):
        raise LoadError(f"PMML version {root.get('version')!r} is not supported; export as 3.x to 4.4")
    _localise(root, space, prefixes)
    models = [e for e in root if e.tag not in _NOT_MODELS]
    if not models:
        raise LoadError("the document holds no model")
    if len(models) > 1:
        kinds = ", ".join(e.tag for e in models)
        raise UnprovenModelError(
            f"the document holds {len(models)} models ({kinds}); publish each in its own"
        )
    return Document(root, models[0], _dictionary(root))


def _tree(data: bytes) -> tuple[ET.Element, dict[str, str]]:
    """The element tree and, for every namespace but the default ones, the prefix it goes by."""
    prefixes: dict[str, str] = {}
    root: ET.Element | None = None
    try:
        for event, what in iterparse(io.BytesIO(data), events=("start", "start-ns"), forbid_dtd=True):
            if event == "start":
                root = what if root is None else root
            elif what[0] and (prefixes.setdefault(what[1], what[0]) != what[0]):
                raise UnprovenModelError(f"namespace {what[1]!r} goes by two prefixes")
    except DefusedXmlException as e:
        raise UnsafeModelError(
            f"the PMML document has a DOCTYPE or an entity ({e}), which could read files or addresses; "
            "export it without"
        ) from None
    except (ET.ParseError, ValueError, LookupError) as e:
        raise LoadError(f"not well-formed XML: {e}") from None
    if root is None:
        raise LoadError("the document is empty")
    return root, prefixes


def _localise(root: ET.Element, space: str, prefixes: dict[str, str]) -> None:
    """Give PMML elements their local names and others (cells of tables) their prefixed ones, in place."""
    used: dict[str, str] = {}
    for element in root.iter():
        if element.tag.startswith("{"):
            uri, _, local = element.tag[1:].partition("}")
            if uri == space:
                element.tag = local
            elif uri in prefixes:
                used[uri] = prefixes[uri]
                element.tag = f"{prefixes[uri]}:{local}"
            else:
                raise UnprovenModelError(
                    f"element {local!r} is in the foreign namespace {uri!r} without a prefix"
                )
        for name in [a for a in element.attrib if a.startswith("{")]:
            del element.attrib[name]
        for child in [c for c in element if c.tag in ("Extension", f"{{{space}}}Extension")]:
            element.remove(child)
    if space:
        root.set("xmlns", space)
    for uri, prefix in used.items():
        root.set(f"xmlns:{prefix}", uri)


def _dictionary(root: ET.Element) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for e in root.findall("DataDictionary/DataField"):
        name, data_type, optype = e.get("name"), e.get("dataType"), e.get("optype")
        if not name or not data_type or not optype:
            raise LoadError(f"data field {name!r} lacks a name, a dataType or an optype")
        if name in fields:
            raise LoadError(f"data field {name!r} is declared twice")
        valid = (v for v in e.findall("Value") if v.get("property", "valid") == "valid")
        values = tuple(v.get("value", "") for v in valid)
        fields[name] = Field(name, data_type, optype, values, _interval(name, e.find("Interval")))
    if not fields:
        raise LoadError("the document has no data dictionary")
    return fields


def _interval(name: str, interval: ET.Element | None) -> tuple[float | None, float | None] | None:
    if interval is None:
        return None
    try:
        low, high = (
            None if m is None else float(m) for m in map(interval.get, ("leftMargin", "rightMargin"))
        )
    except ValueError as e:
        raise LoadError(f"data field {name!r} has an interval whose margin is no number: {e}") from None
    return low, high
