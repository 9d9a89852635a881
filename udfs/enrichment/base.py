"""Requests for predictions, what they become, and who may create what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import msgspec

from schemas.names import LONGEST_NAME
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import OnDemand

LONGEST_MS = 600_000
"""The most that a request may be open: the end of a finite input waits for it."""


ModelName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]*\Z")
]
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
EntityValue = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What registry and stores can be asked for: one that cannot would hold up the requests beside it."""


class PredictionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """JSON on the requests topic. `entities`: entity column -> value; `expires_ms`: how long after `created`
    (epoch milliseconds, 0: when the record was written) it may complete. `version` of the model, 0: whichever
    serves. `fields` go on unchanged."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
    model: ModelName
    entities: dict[str, EntityValue]
    version: Whole = 0
    created: Whole = 0
    expires_ms: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_MS)] = 1000
    fields: dict[str, Any] = {}


class FeatureStamp(msgspec.Struct, frozen=True):
    """Of one value in a completed record: where from (`VIEW_vVERSION:FEATURE`), the view's version, its age
    at completion, and if it was made on demand."""

    feature: str
    version: int
    value: Any
    age_ms: int
    created_on_demand: bool = False


class Completed(msgspec.Struct, frozen=True):
    """A request with its vector: the scoring input is `record` (the request's fields, its id, and input field
    -> value) with `stamps` under `features`, so that the predicted record carries them."""

    request: PredictionRequest
    data_type: str
    record: dict[str, Any]
    stamps: tuple[FeatureStamp, ...]


class Expired(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request whose time ran out, or that nobody can complete. `missing`: feature -> `missing`, `expired`,
    or why its creator failed; `reason`: what was wrong with the request, or what could not be asked."""

    request: PredictionRequest
    missing: dict[str, str] = {}
    reason: str = ""


class Created(msgspec.Struct, frozen=True):
    """An on-demand answer: values of one view's features for one entity, to be stored with its TTL. `error`
    is why there are none. `event_time`: epoch milliseconds, when it came."""

    view: StoredView
    entity: tuple[str | int, ...]
    event_time: int
    values: dict[str, Any] = {}
    error: str = ""


class Creator(Protocol):
    """Makes a view's features on demand, with threads of its own. All methods are for one thread."""

    def ask(self, how: OnDemand, view: StoredView, entity: tuple[str | int, ...]) -> bool:
        """Begin; never waits. False where all places of the view are taken: ask again later. An entity is
        not asked again before it was answered."""
        ...

    def answers(self) -> Sequence[Created]:
        """What has come since it was last asked; never waits. Each `ask` that gave True has one answer, at
        the latest at its timeout."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when there is an answer, at the latest after so long."""
        ...

    def close(self) -> None: ...


Outcome = Completed | Expired
