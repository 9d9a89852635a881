"""Reads feature vectors from Redis, in one round trip for all views and entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from redis import Redis
from redis.exceptions import RedisError

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType
from udfs.stores.online.base import Found, RedisOptions, State, StoredView
from udfs.stores.online.layout import KeyLayout, fields
from udfs.stores.online.redis_connection import is_away, pool, refusal
from udfs.stores.online.values import decode


class RedisReader:
    """An `OnlineReader` of `views` by id. It connects at the first read; threads may share it."""

    def __init__(self, views: Mapping[str, StoredView], options: RedisOptions) -> None:
        self._views = dict(views)
        self._types = {id_: dict(view.features) for id_, view in self._views.items()}
        self._keys = {id_: KeyLayout(view, options.project) for id_, view in self._views.items()}
        self._timeout_s = options.timeout_s
        self._pool = pool(options)
        self._redis = Redis(connection_pool=self._pool)

    def read(
        self,
        wanted: Sequence[tuple[str, Sequence[str]]],
        entities: Sequence[Sequence[tuple[Any, ...]]],
        now: int,
    ) -> list[list[Found]]:
        """See `OnlineReader`. Raises `StoreError` also for a view or a feature that is not known."""
        asked = [self._ask(*each) for each in zip(wanted, entities, strict=True)]
        with self._redis.pipeline(transaction=False) as pipe:
            for keys, names, _ in asked:
                for key in keys:
                    pipe.execute_command("HMGET", key, *names)
            try:
                answers = iter(pipe.execute())
            except RedisError as e:
                if not is_away(e):
                    raise refusal(e, "to be read") from e
                raise StoreError(f"Redis did not answer within {self._timeout_s:g} s: {e}") from e
        return [
            [self._found(view, kinds, next(answers), now) for _ in keys]
            for (view, _), (keys, _, kinds) in zip(wanted, asked, strict=True)
        ]

    def close(self) -> None:
        self._pool.disconnect()

    def _ask(
        self, wanted: tuple[str, Sequence[str]], entities: Sequence[tuple[Any, ...]]
    ) -> tuple[list[bytes], list[bytes], list[tuple[str, FeatureType]]]:
        """The keys, the fields, and what these hold beside the time."""
        id_, features = wanted
        if id_ not in self._views:
            raise StoreError(f"there is no view {id_} among {', '.join(sorted(self._views)) or 'none'}")
        view, types = self._views[id_], self._types[id_]
        if unknown := [name for name in features if name not in types]:
            raise StoreError(f"view {id_} has no feature {', '.join(unknown)}")
        keys = self._keys[id_].keys_of(entities, [name for name, _ in view.entity])
        return keys, fields(view, features), [(name, types[name]) for name in features]

    def _found(
        self, view: str, kinds: Sequence[tuple[str, FeatureType]], answer: list[bytes | None], now: int
    ) -> Found:
        stamp, *values = answer
        if stamp is None:
            return Found(State.MISSING, 0, (None,) * len(kinds))
        try:
            time = _milliseconds(stamp)
            read = tuple(decode(v or b"", kind) for v, (_, kind) in zip(values, kinds, strict=True))
        except (StoreError, DecodeError) as e:
            raise StoreError(f"view {view}, features {', '.join(n for n, _ in kinds)}: {e}") from e
        expired = time + self._views[view].ttl_ms < now
        return Found(State.EXPIRED if expired else State.PRESENT, time, read)


def _milliseconds(stamp: bytes) -> int:
    return Timestamp.FromString(stamp).ToMilliseconds()
