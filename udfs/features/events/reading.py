"""Which sources and references a job must read for the views that are declared."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import FeatureError
from schemas.features.declarations import Declarations
from schemas.features.rules import check
from udfs.features.enriching import references_of


def read_sources(declared: Declarations, topics: bool) -> dict[str, str]:
    """Source -> its topic, of the sources that views read.

    Raises `FeatureError` where the declarations do not hold together, or, with `topics`, where a source has
    no topic or shares it.
    """
    check(declared)
    read = {view.source for view in declared.views}
    found = {s.name: s.topic for s in declared.sources if s.name in read}
    if not found:
        raise FeatureError("no view reads a source: there is nothing to compute")
    if topics:
        _own_topics("source", found, {})
    return found


def read_references(declared: Declarations, topics: bool) -> dict[str, str]:
    """Reference -> its topic, of the references that steps name. Raises `FeatureError` as `read_sources`
    does."""
    named = {r.name for view in declared.views for r in references_of(view, declared)}
    found = {r.name: r.topic for r in declared.references if r.name in named}
    if topics:
        _own_topics("reference", found, read_sources(declared, topics))
    return found


def _own_topics(what: str, found: Mapping[str, str], others: Mapping[str, str]) -> None:
    for name, topic in found.items():
        if not topic:
            raise FeatureError(f"{what} {name} has no topic to be read from")
        shared = [other for other in found if found[other] == topic]
        if len(shared) > 1:
            raise FeatureError(f"{what}s {' and '.join(shared)} read one topic {topic!r}: declare one {what}")
        for other, its in others.items():
            if its == topic:
                raise FeatureError(
                    f"{what} {name} and source {other} read one topic {topic!r}: give each its own"
                )
