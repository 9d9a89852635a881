"""Rows that a tree follows into several children, because a value is missing on the way.

`weightedConfidence` scores each child that may apply, and weights the confidences by the children's counts.
`aggregateNodes` adds up the counts of all leaves that a row with the missing values may reach. Rows without
a missing value on their way never come here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.elements import describe, number, predicate_of, refuse
from udfs.models.runtimes.pmml.compiler.place import Categories, Place
from udfs.models.runtimes.pmml.compiler.predicates import Truth, compile_predicate
from udfs.models.runtimes.pmml.compiler.results import Result
from udfs.models.runtimes.pmml.compiler.tree_graph import FORKING

_WEIGHTED = FORKING[0]


@dataclass(frozen=True, slots=True)
class Branch:
    """A node: the condition under which a row takes it, how many records it stands for, what it says of the
    categories where a row may end in it, and its children."""

    truth: Truth
    count: float
    says: dict[int, float] | None
    kids: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Forks:
    """`at`: by number of a leaf the branch where rows fork, None where rows end."""

    at: tuple[Branch | None, ...]
    weighted: bool

    def settle(self, batch: Batch, leaves: NDArray[np.int32], plain: Result) -> Result:
        """The result with the rows that fork, which `leaves` says, scored; the others are as in `plain`."""
        assert plain.label is not None and plain.confidence is not None
        reached = [int(leaf) for leaf in np.unique(leaves) if self.at[leaf] is not None]
        if not reached:
            return plain
        label, confidence, probabilities = plain.label.copy(), plain.confidence.copy(), plain.probabilities
        probabilities = None if probabilities is None else probabilities.copy()
        for leaf in reached:
            rows = np.flatnonzero(leaves == leaf)
            branch = self.at[leaf]
            assert branch is not None
            totals, told = self._followed(batch, branch, rows, confidence.shape[1])
            known = ~np.isnan(totals).any(axis=1) & (totals.sum(axis=1) > 0)
            label[rows] = np.where(known, totals.argmax(axis=1), -1)
            confidence[rows] = np.where((known & told)[:, None], totals, np.nan) if self.weighted else np.nan
            if probabilities is not None:
                probabilities[rows] = totals / np.where(known, totals.sum(axis=1), np.nan)[:, None]
        return replace(plain, label=label, confidence=confidence, probabilities=probabilities)

    def _followed(
        self, batch: Batch, top: Branch, rows: NDArray, width: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """`(rows, categories)`: what the branches below say together, NaN where one of them says nothing; and
        the rows whose weights are parts of the whole, however it is counted."""
        totals = np.zeros((len(rows), width))
        told = np.ones(len(rows), bool)
        waiting = [(top, np.arange(len(rows)), np.ones(len(rows)))]
        while waiting:
            branch, held, weights = waiting.pop()
            if not branch.kids:
                _add(totals, branch, held, weights)
                continue
            taken, forked = self._taken(batch, branch, rows[held])
            stuck = ~taken.any(axis=0)
            _add(totals, branch, held[stuck], weights[stuck])
            counts = np.array([kid.count for kid in branch.kids])
            whole = (taken * counts[:, None]).sum(axis=0) if self.weighted else np.ones(len(held))
            told[held[forked & ~np.isclose(whole, branch.count, rtol=1e-9)]] = False
            for kid, mask in zip(branch.kids, taken, strict=True):
                if mask.any():
                    share = weights[mask] * kid.count / whole[mask] if self.weighted else weights[mask]
                    waiting.append((kid, held[mask], share))
        return totals, told

    def _taken(self, batch: Batch, branch: Branch, rows: NDArray) -> tuple[NDArray, NDArray]:
        """`(children, rows)`: which children a row follows; and the rows that follow for want of a value."""
        states = [kid.truth(batch) for kid in branch.kids]
        lacking = np.array([state.mask(batch.count)[rows] for state in states])
        true = np.array([np.broadcast_to(s.values, (batch.count,))[rows] for s in states]) & ~lacking
        before = np.cumsum(true, axis=0) - true == 0  # no child before is true
        first, unknown = true & before, lacking & before
        forked = unknown.any(axis=0)
        if self.weighted:
            return np.where(forked, true | lacking, first), forked
        return first | unknown, forked


def _add(totals: NDArray, branch: Branch, held: NDArray, weights: NDArray) -> None:
    if branch.says is None:
        totals[held] = np.nan
        return
    for place, value in branch.says.items():
        totals[held, place] += weights * value


def compile_forks(place: Place, categories: Categories, forks: dict[int, ET.Element], leaves: int) -> Forks:
    """`forks`: by number of a leaf the node at which a row forks. Categories that are new are added."""
    weighted = place.element.get("missingValueStrategy") == _WEIGHTED
    last = place.element.get("noTrueChildStrategy") == "returnLastPrediction"
    if place.exporter.rounded:
        refuse("a tree that rounds its values follows several children where a value is missing")
    order = place.element.findall("Node")
    if predicate_of(order[0]).tag != "True":
        refuse("a tree follows several children where a value is missing, and its root asks for a value")
    for node in order:  # grows on the way: each node comes before its children
        order.extend(node.findall("Node"))
    made: dict[int, Branch] = {}
    for node in reversed(order):
        kids = tuple(made[id(kid)] for kid in node.findall("Node"))
        says = _said(node, weighted, categories) if last or not kids else None
        truth = compile_predicate(predicate_of(node), place.scope)
        made[id(node)] = Branch(truth, _count(node) if weighted else 1.0, says, kids)
    return Forks(tuple(made[id(forks[k])] if k in forks else None for k in range(leaves)), weighted)


def _said(node: ET.Element, weighted: bool, categories: Categories) -> dict[int, float]:
    """The confidences of a node, or the counts, by category."""
    entries = node.findall("ScoreDistribution")
    if not entries:
        refuse(f"{describe(node)} has no ScoreDistribution, which the missing value strategy needs")
    name = "confidence" if weighted else "recordCount"
    said = {categories.place(e.get("value", "")): number(e, name) for e in entries}
    if len(said) < len(entries) or min(said.values()) < 0:
        refuse(f"{describe(node)} lists a category twice, or a negative {name}")
    return said


def _count(node: ET.Element) -> float:
    """How many records a node stands for: its own word, or the sum of its categories."""
    if node.get("recordCount") is not None:
        return number(node, "recordCount")
    entries = node.findall("ScoreDistribution")
    if not entries:
        refuse(f"{describe(node)} has no recordCount, which weightedConfidence needs")
    return sum(number(e, "recordCount") for e in entries)
