"""MiningModel: segments, each a model under a condition, and the ways in which their results are combined."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

from udfs.models.runtimes.pmml.compiler.elements import (
    PREDICATES,
    choice,
    describe,
    number,
    predicate_of,
    refuse,
    required,
)
from udfs.models.runtimes.pmml.compiler.place import CompiledModel, Place
from udfs.models.runtimes.pmml.compiler.predicates import Truth, compile_predicate, is_always
from udfs.models.runtimes.pmml.compiler.results import Scorer

CHAINS = ("modelChain", "x-multiModelChain")
_TREATMENTS = ("continue", "skipSegment", "returnMissing")
_TREATED = ("missingPredictionTreatment", "x-missingPredictionTreatment")  # the latter before PMML 4.4
_ALIASES = {"x-weightedMedian": "weightedMedian", "x-weightedSum": "weightedSum"}
METHODS = (
    "majorityVote", "weightedMajorityVote", "average", "weightedAverage", "median", "weightedMedian", "max",
    "sum",
    "weightedSum", "selectFirst", *CHAINS, *_ALIASES,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """`condition`: None where it is always true; `element`: the model, not yet compiled."""

    name: str
    predicate: ET.Element
    condition: Truth | None
    weight: float
    element: ET.Element


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The parts of a mining model. `threshold`: the share of segments that may be without a prediction."""

    place: Place
    method: str
    segments: tuple[Segment, ...]
    treatment: str
    threshold: float

    def conditioned(self, segment: Segment) -> Segment:
        """The segment with its condition compiled as of now."""
        if is_always(segment.predicate):
            return segment
        return replace(segment, condition=compile_predicate(segment.predicate, self.place.scope))

    def compile(self, segment: Segment) -> CompiledModel:
        return self.place.compile(segment.element, self.place.scope)


def compile_mining(place: Place) -> Scorer:
    """A MiningModel."""
    from udfs.models.runtimes.pmml.compiler.chains import compile_chain, compile_select_first  # noqa: PLC0415
    from udfs.models.runtimes.pmml.compiler.ensembles import compile_ensemble  # noqa: PLC0415

    element = required(place.element, "Segmentation")
    stray = [e.tag for e in place.element if e.tag.endswith("Model") or e.tag == "Regression"]
    if stray:
        refuse(f"a MiningModel holds a {stray[0]} beside its segments")
    method = choice(element, "multipleModelMethod", METHODS)
    method = _ALIASES.get(method, method)
    named = next((n for n in _TREATED if n in element.attrib), _TREATED[0])
    parts = Segmentation(
        place, method, tuple(_segment(e, k, place) for k, e in enumerate(element.findall("Segment"), 1)),
        choice(element, named, _TREATMENTS, "continue"),
        number(element, "missingThreshold", number(element, "x-missingThreshold", 1.0)),
    )  # fmt: skip
    if not parts.segments:
        refuse("a MiningModel has no segments")
    if parts.threshold < 0:
        refuse("a MiningModel has a negative missingThreshold")
    shared = method.startswith("weighted") and (method != "weightedSum" or parts.treatment == "skipSegment")
    if shared and any(segment.weight < 0 for segment in parts.segments):
        refuse(f"a segment has a negative weight, of which {method!r} knows no share")
    if method in CHAINS:
        return compile_chain(parts)
    parts = replace(parts, segments=tuple(map(parts.conditioned, parts.segments)))
    if method == "selectFirst":
        return compile_select_first(parts)
    return compile_ensemble(parts)


def _segment(element: ET.Element, number_of: int, place: Place) -> Segment:
    from udfs.models.runtimes.pmml.compiler.model import MODELS  # noqa: PLC0415 - they compile each other

    predicate = predicate_of(element)
    others = [e for e in element if e.tag not in PREDICATES]
    if len(others) != 1 or others[0].tag not in MODELS:
        held = ", ".join(e.tag for e in others) or "nothing"
        refuse(f"{describe(element)} holds {held} where one known model belongs")
    name = element.get("id", str(number_of))
    return Segment(name, predicate, None, number(element, "weight", 1.0), others[0])
