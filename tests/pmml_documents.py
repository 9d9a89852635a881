# ruff: noqa: E501, PLR0917 - documents are written in one line, and have many parts
"""PMML texts for the tests: small trees and ensembles over the fields x, y (numbers) and k (a category)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

CLASSES = ("a", "b", "c")
CATEGORIES = ("red", "green", "blue")


@dataclass
class Leaf:
    """A leaf; `counts` in the order in which they are written, classes left out are absent."""

    counts: list[tuple[str, int]]
    score: str | None = None
    confidence: bool = False


@dataclass
class Split:
    """A node with a predicate's inner text for each of its children."""

    ways: list[tuple[str, Leaf | Split]]
    default: int | None = None
    counts: list[tuple[str, int]] = field(default_factory=list)


def less(name: str, value: float) -> tuple[str, str]:
    return tuple(f'<SimplePredicate field="{name}" operator="{o}" value="{value!r}"/>'
                 for o in ("lessOrEqual", "greaterThan"))  # type: ignore[return-value]  # fmt: skip


def among(values: Sequence[str]) -> tuple[str, str]:
    array = f'<Array type="string" n="{len(values)}">{" ".join(values)}</Array>'
    return tuple(f'<SimpleSetPredicate field="k" booleanOperator="{o}">{array}</SimpleSetPredicate>'
                 for o in ("isIn", "isNotIn"))  # type: ignore[return-value]  # fmt: skip


def node(what: Leaf | Split, predicate: str = "<True/>", name: str = "n") -> str:
    counts = what.counts
    score = (
        what.score
        if isinstance(what, Leaf) and what.score
        else max(counts, key=lambda c: c[1])[0]
        if counts
        else ""
    )
    attributes = f' id="{name}"' + (f' score="{score}"' if score else "")
    confident = isinstance(what, Split) or what.confidence
    shares = "".join(
        f'<ScoreDistribution value="{c}" recordCount="{n}"'
        + f' confidence="{(n + 1) / 64}"' * confident
        + "/>"
        for c, n in counts
    )
    inner = ""
    if isinstance(what, Split):
        if what.default is not None:
            attributes += f' defaultChild="{name}{what.default}"'
        inner = "".join(node(child, p, f"{name}{i}") for i, (p, child) in enumerate(what.ways))
    return f"<Node{attributes}>{predicate}{shares}{inner}</Node>"


def schema(target: bool = True) -> str:
    fields = "".join(f'<MiningField name="{n}"/>' for n in "xyk")
    return (
        "<MiningSchema>" + '<MiningField name="t" usageType="target"/>' * target + fields + "</MiningSchema>"
    )


def probabilities(classes: Sequence[str] = CLASSES) -> str:
    fields = "".join(
        f'<OutputField name="p{c}" optype="continuous" dataType="double" feature="probability" value="{c}"/>'
        for c in classes
    )
    return f"<Output>{fields}</Output>"


LABEL = '<OutputField name="label" optype="categorical" dataType="string" feature="predictedValue"/>'
OUTPUT = probabilities().replace("</Output>", LABEL + "</Output>")


def tree(top: Leaf | Split, function: str = "classification", output: str = "", target: bool = True,
         attributes: str = "") -> str:  # fmt: skip
    return (
        f'<TreeModel functionName="{function}" {attributes}>{schema(target)}{output}{node(top)}</TreeModel>'
    )


def ensemble(children: Sequence[str], method: str, function: str = "classification", output: str = "",
             weights: Sequence[float] = (), extra: str = "") -> str:  # fmt: skip
    pairs = zip(children, weights or [1.0] * len(children), strict=True)
    segments = "".join(
        f'<Segment id="{i}" weight="{w}"><True/>{c}</Segment>' for i, (c, w) in enumerate(pairs)
    )
    return (
        f'<MiningModel functionName="{function}">{schema()}{output}{extra}'
        f'<Segmentation multipleModelMethod="{method}">{segments}</Segmentation></MiningModel>'
    )


def document(
    model: str, numeric: bool = False, classes: Sequence[str] = CLASSES, version: str = "4_3"
) -> str:
    values = "".join(f'<Value value="{c}"/>' for c in classes)
    target = (
        '<DataField name="t" optype="continuous" dataType="double"/>' if numeric
        else f'<DataField name="t" optype="categorical" dataType="string">{values}</DataField>'
    )  # fmt: skip
    categories = "".join(f'<Value value="{c}"/>' for c in CATEGORIES)
    return (
        f'<PMML xmlns="http://www.dmg.org/PMML-{version}" version="{version.replace("_", ".")}"><Header/>'
        f'<DataDictionary>{target}<DataField name="x" optype="continuous" dataType="double"/>'
        '<DataField name="y" optype="continuous" dataType="double"/>'
        f'<DataField name="k" optype="categorical" dataType="string">{categories}</DataField></DataDictionary>'
        f"{model}</PMML>"
    )
