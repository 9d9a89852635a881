"""What is told about a plan."""

from __future__ import annotations

from schemas.errors import ModelError
from schemas.results.records import EventKind, ModelEvent
from udfs.models.descriptor import Publication


def plan_event(
    kind: EventKind, about: Publication, at: int, subtask: int, *, why: ModelError | str = ""
) -> ModelEvent:
    """`at`: epoch milliseconds. `why`: the reason, or the error with its step."""
    return ModelEvent(
        kind=kind,
        data_type=about.data_type,
        name=about.name,
        version=about.version,
        digest=about.sha256,
        at=at,
        subtask=subtask,
        step="plan" if isinstance(why, str) else why.step,
        reason=str(why),
        signer=about.signer,
    )
