"""Reading and writing features online, whatever the store. Redis is the one that is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from schemas.features.declarations import FeatureType


@dataclass(frozen=True, slots=True)
class StoredView:
    """What a store must know of a view. `entity` and `features`: names and types, in order."""

    id: str
    entity: tuple[tuple[str, FeatureType], ...]
    features: tuple[tuple[str, FeatureType], ...]
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How Redis is reached. `url`: redis://HOST:PORT/DB, or rediss:// for TLS.

    `project` is Feast's: it ends every key. `timeout_s` is for connecting and for each answer. While Redis is
    away a write is tried again after `backoff_s`, doubled up to `backoff_most_s`, for ever.

    Redis forgets a row `keep_expired_s` after its TTL: until then it reads as expired, then as missing.
    Feast's clients look at no TTL and are served expired rows as long.
    """

    url: str = "redis://127.0.0.1:6379/0"
    project: str = "millrace"
    username: str = ""
    password: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    timeout_s: float = 5.0
    backoff_s: float = 0.1
    backoff_most_s: float = 5.0
    keep_expired_s: float = 0.0

    def __repr__(self) -> str:  # never a password, neither in the field nor in the URL
        return f"RedisOptions(project={self.project!r})"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the rows of a batch: they add up to its length. `retries`: how often Redis was away."""

    written: int
    older: int
    expired: int
    coalesced: int
    retries: int = 0


class State(StrEnum):
    """Of one view's features for one entity."""

    PRESENT = "present"
    MISSING = "missing"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Found:
    """`values` in the order asked, None for null; of an expired row what was stored, of a missing one None.
    `event_time`: epoch milliseconds, 0 where missing."""

    state: State
    event_time: int
    values: tuple[Any, ...]


class OnlineReader(Protocol):
    """Reads vectors. Holds no cache."""

    def read(
        self,
        wanted: Sequence[tuple[str, Sequence[str]]],
        entities: Sequence[Sequence[tuple[Any, ...]]],
        now: int,
    ) -> list[list[Found]]:
        """One round trip for all. `wanted`: (view id, features) pairs; `entities`: for each of them n entity
        tuples. Returns for each pair n `Found`. `now`: epoch milliseconds, against which TTLs are judged.

        Raises `StoreError` where the store cannot be reached in time, or holds what is no value.
        """
        ...

    def close(self) -> None: ...
