"""Which sources a job must read for the views that are declared."""

from __future__ import annotations

from schemas.errors import FeatureError
from schemas.feature_rules import check
from schemas.features import Declarations, Enrichment


def read_sources(declared: Declarations, topics: bool) -> dict[str, str]:
    """Source -> its topic, of the sources that views read.

    Raises `FeatureError` where the declarations do not hold together or have steps that are not Python's, or,
    with `topics`, where a source has no topic or shares it.
    """
    check(declared)
    for view in declared.views:
        for step in view.steps:
            if isinstance(step, Enrichment):
                raise FeatureError(
                    f"view {view.id}: the step by {step.reference!r} is a reference, which the jobs do not "
                    "compute yet: write it as a Python function"
                )
    read = {view.source for view in declared.views}
    found = {s.name: s.topic for s in declared.sources if s.name in read}
    if not found:
        raise FeatureError("no view reads a source: there is nothing to compute")
    if topics:
        for name, topic in found.items():
            if not topic:
                raise FeatureError(f"source {name} has no topic to be read from")
            shared = [other for other in found if found[other] == topic]
            if len(shared) > 1:
                raise FeatureError(
                    f"sources {' and '.join(shared)} read one topic {topic!r}: declare one source"
                )
    return found
