"""What is told about something that was published, where that does not get as far as a model's state."""

from __future__ import annotations

from schemas.errors import ModelError
from schemas.results.records import EventKind, ModelEvent
from udfs.models.descriptor import Publication, parse


def event_of(
    kind: EventKind, about: Publication, at: int, subtask: int, *, why: ModelError | str = ""
) -> ModelEvent:
    """`at`: epoch milliseconds. `why`: the error with its step, or what is said of a plan."""
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


def unreadable(descriptor: bytes, at: int, subtask: int) -> ModelEvent:
    """The event for bytes on the model stream that are no valid descriptor."""
    try:
        parse(descriptor)
    except ModelError as e:
        return ModelEvent(EventKind.REFUSED, "", "", 0, "", at, subtask, e.step, str(e))
    raise ValueError("the descriptor can be read")
