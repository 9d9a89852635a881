"""A PMML file as an element tree that is safe to look into.

No document type and no entity is let in, so nothing outside the file is read and nothing grows. What is
nested too deeply is refused before anything recursive sees it. Extensions, which a consumer may ignore by
the standard, are left out.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from schemas.errors import LoadError, UnprovenModelError, UnsafeModelError

MAX_BYTES = 256 << 20
MAX_DEPTH = 2000
_NAMESPACE = re.compile(r"https?://www\.dmg\.org/PMML-(3_\d|4_[0-4])$")
_VERSION = re.compile(r"(3\.\d|4\.[0-4])(\.\d+)?$")
# Without going back on what was passed over: many short comments could be read as fewer longer ones in more
# ways than can be tried.
_PROLOGUE = r"(?>\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[.*?\])?\s*>)*+"
_PMML = re.compile(_PROLOGUE + r"<([\w.-]+:)?PMML[\s>/]", re.DOTALL)
_HEAD = 64 * 1024
_PROLOGUE_BYTES = 1 << 20
_NOT_MODELS = {"Header", "MiningBuildTask", "DataDictionary", "TransformationDictionary"}
# What a model is scored by: in an extension, where it would be left out, it is refused.
_SCORED = frozenset({
    "Attribute", "BayesInput", "CategoricalPredictor", "Characteristic", "Cluster", "CompoundPredicate",
    "CompoundRule", "Con", "DerivedField", "MiningField", "Neuron", "Node", "NumericPredictor", "PCell",
    "PPCell", "PairCounts", "PredictorTerm", "RegressionTable", "Segment", "SimplePredicate", "SimpleRule",
    "SimpleSetPredicate", "SupportVectorMachine", "Target", "TargetValueStats",
})  # fmt: skip
_COLUMN_NAMES = ("column", "outputColumn")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: PMML elements carry their local names, `model` is its one model element."""

    root: ET.Element
    model: ET.Element

    def text(self) -> str:
        """The document as XML text, for a second evaluator: this tree written again, never the file.

        Raises `LoadError` where it is nested too deeply to be written.
        """
        spaced = ET.Element("PMML", {"xmlns": "http://www.dmg.org/PMML-4_4", **self.root.attrib})
        spaced.extend(self.root)
        for element in spaced.iter():
            for name in _COLUMN_NAMES:
                if name in element.attrib:
                    element.set(name, element.attrib[name].rpartition(":")[2])
        try:
            return ET.tostring(spaced, encoding="unicode")
        except RecursionError:
            raise LoadError(
                "the PMML document is nested too deeply; prune the trees and export again"
            ) from None


def is_pmml(path: Path) -> bool:
    """Whether a file begins as PMML does."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return _PMML.match(head.decode("utf-16" if wide else "utf-8-sig", "ignore")) is not None


def parse(data: bytes) -> Document:
    """Parse PMML 3.0 to 4.4, with or without its namespace.

    Raises `UnsafeModelError` for a DOCTYPE or an entity, `LoadError` for what is malformed, too large,
    too deep or no PMML, `UnprovenModelError` where the document leaves open which model is meant.
    """
    if len(data) > MAX_BYTES:
        raise LoadError(f"the PMML document has {len(data)} bytes, the bound is {MAX_BYTES}")
    _refuse_doctype(data)
    try:
        # The whole at once: expat before 2.6.0 reads a long attribute or comment anew with every piece that
        # it is given, which took 4 s for 15 MB with everything else standing still (CVE-2023-52425).
        root = ET.fromstring(data)  # noqa: S314 - no DOCTYPE comes here
    except (ET.ParseError, ValueError, LookupError) as e:
        raise LoadError(f"not well-formed XML: {e}") from None
    space = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    if root.tag.rpartition("}")[2] != "PMML" or (space and not _NAMESPACE.match(space)):
        raise LoadError(f"the root element is {root.tag!r}, not PMML 3.0 to 4.4")
    # Spark 1.4 says the version by the namespace alone.
    version = root.get("version", space.rpartition("-")[2].replace("_", "."))
    if not _VERSION.match(version):
        raise LoadError(f"PMML version {root.get('version')!r} is not supported; export as 3.0 to 4.4")
    _localise(root, space)
    if version.startswith("4.1"):
        _default_values(root)
    models = [e for e in root if e.tag not in _NOT_MODELS]
    if not models:
        raise LoadError("the document holds no model")
    if len(models) > 1:
        kinds = ", ".join(e.tag for e in models)
        raise UnprovenModelError(
            f"the document holds {len(models)} models ({kinds}); publish each in its own"
        )
    if root.find("DataDictionary") is None:
        raise LoadError("the document has no data dictionary")
    return Document(root, models[0])


class _RootReachedError(Exception):
    """The prologue of the document is over."""


def _refuse_doctype(data: bytes) -> None:
    """Look through what stands before the root element, and its start tag, of at most `_PROLOGUE_BYTES`:
    `pyexpat` gives expat more in pieces, each of which reads an unfinished comment anew. Raises
    `UnsafeModelError`, `LoadError`."""
    parser = expat.ParserCreate()

    def doctype(*_: object) -> None:
        raise UnsafeModelError(
            "the PMML document has a DOCTYPE, by which entities could read files or addresses; "
            "export it without"
        )

    def reached(*_: object) -> None:
        raise _RootReachedError

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    parser.StartElementHandler = reached
    try:
        parser.Parse(data[:_PROLOGUE_BYTES], len(data) <= _PROLOGUE_BYTES)
    except _RootReachedError:
        return
    except (expat.ExpatError, ValueError, LookupError) as e:
        raise LoadError(f"not well-formed XML: {e}") from None
    raise LoadError(f"no element begins within the first {_PROLOGUE_BYTES} bytes of the document")


def _localise(root: ET.Element, space: str) -> None:
    """Give PMML elements and the cells of tables their local names, in place, and drop extensions.

    Any other element of a foreign namespace keeps it, and is refused later by name. Raises `LoadError` where
    elements are nested too deeply, before anything recursive sees them.
    """
    own = f"{{{space}}}"
    local: dict[str, str] = {}  # one text for each tag, of which a document has few
    open_elements = [iter((root,))]
    while open_elements:
        for element in open_elements[-1]:
            tag = element.tag
            element.tag = local.get(tag) or local.setdefault(tag, sys.intern(tag.removeprefix(own)))
            if len(element):
                open_elements.append(iter(element))
                break
        else:
            open_elements.pop()
        if len(open_elements) > MAX_DEPTH:
            raise LoadError("the PMML document is nested too deeply; prune the trees and export again")
    tags = set(local.values())
    if "Extension" in tags:
        for element in list(root.iter()):
            if element.find("Extension") is not None:
                element[:] = [kept for child in element for kept in _kept(element, child)]
    if "row" in tags:
        for row in root.iter("row"):
            for cell in row:
                cell.tag = cell.tag.rpartition("}")[2]


def _default_values(root: ET.Element) -> None:
    """Call what replaces the missing result of a function as it is called since PMML 4.2, in place: there
    `mapMissingTo` is for missing arguments."""
    for element in root.iter("Apply"):
        if "mapMissingTo" in element.attrib:
            element.set("defaultValue", element.attrib.pop("mapMissingTo"))


def _kept(parent: ET.Element, child: ET.Element) -> list[ET.Element]:
    """What stays of a child: nothing of an extension, but for the inputs of naive Bayes. Up to PMML 4.1 the
    standard knew none of numbers, so R's exporter writes them into extensions."""
    if child.tag != "Extension":
        return [child]
    if parent.tag == "BayesInputs":
        return child.findall("BayesInput")
    held = next((e.tag for e in child.iter() if e.tag in _SCORED), None) if len(child) else None
    if held is not None:
        raise UnprovenModelError(
            f"an extension of {parent.tag} holds a {held}, without which the model may be another one"
        )
    return []
