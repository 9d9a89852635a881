"""Writes batches of feature rows to Redis, and waits while it is away."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from redis.exceptions import RedisError
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from schemas.errors import StoreError
from schemas.features.feature_batch import ARROW, TIMESTAMP, FeatureBatch
from udfs.stores.online.base import RedisOptions, StoredView, Written
from udfs.stores.online.layout import KeyLayout, fields
from udfs.stores.online.redis_connection import connection, is_away, pool, refusal
from udfs.stores.online.redis_script import script
from udfs.stores.online.small_batch import SMALL, encode_small, encode_small_times, small_records
from udfs.stores.online.values import data_of, encode, encode_times, ragged, records

_ENCODED = 256
"""Rows that are encoded at once: while Redis writes these, the next are made."""
_SCRIPT_ROWS = 128
"""Rows a script: it keeps readers waiting for about a millisecond."""

_log = logging.getLogger(__name__)


class RedisWriter:
    """Writes batches of one view, for one thread. It connects at the first write.

    A row replaces what is stored unless that has a later event time; equal times replace, so that a replay
    and a final row may correct a provisional one. Rows of one entity in one batch are written once, the
    newest. A row whose event time is more than the TTL ago is not written.

    `now`: seconds since the epoch. `sleep` is called between tries with the seconds to wait, at most
    `options.backoff_most_s`; what it raises ends the write, so that whoever is being cancelled gets out.
    `retries` counts the tries that failed since the start, also while a write still waits.

    A write that is tried again sends the whole batch again. That changes nothing: event times are compared,
    and equal rows replace each other.
    """

    def __init__(
        self,
        view: StoredView,
        options: RedisOptions,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.retries = 0
        self._view, self._now = view, now
        self._keep_ms = view.ttl_ms + int(options.keep_expired_s * 1000)
        self._keys = KeyLayout(view, options.project)
        self._fields = fields(view, [name for name, _ in view.features])
        self._script = script(len(self._fields))
        self._digest = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()
        self._pool = pool(options)
        self._loaded = False
        self._checked = pa.schema([])
        self._patiently = Retrying(
            retry=retry_if_exception(is_away),
            wait=wait_exponential(options.backoff_s, options.backoff_most_s),
            sleep=sleep,
            before_sleep=self._count,
            reraise=True,
        )

    def write(self, batch: FeatureBatch) -> Written:
        """One round trip. Waits while the store is away; raises `StoreError` for what waiting cannot mend
        (wrong password, a key of another type, no memory with the policy noeviction), and for a batch of
        another view or with other columns."""
        self._check(batch)
        rows, before = batch.rows, self.retries
        keys, chosen, expired = self._newest(rows)
        if len(chosen) < rows.num_rows:
            rows, keys = rows.take(pa.array(chosen, pa.int64())), [keys[i] for i in chosen]
        older = 0
        if keys:
            try:
                older = self._patiently(self._send, rows, keys)
            except RedisError as e:
                raise refusal(e, f"rows of view {self._view.id}") from e
        if self.retries > before:
            _log.info("Redis takes rows of view %s again", self._view.id)
        coalesced = batch.rows.num_rows - expired - len(chosen)
        return Written(len(chosen) - older, older, expired, coalesced, self.retries - before)

    def close(self) -> None:
        self._pool.disconnect()

    def _check(self, batch: FeatureBatch) -> None:
        if batch.view != self._view.id:
            raise StoreError(f"a batch of view {batch.view} came to the writer of view {self._view.id}")
        schema = batch.rows.schema
        if schema.equals(self._checked) and not batch.rows.column(TIMESTAMP).null_count:
            return
        expected = [*((n, ARROW[k]) for n, k in (*self._view.entity, *self._view.features))]
        for name, kind in (*expected, (TIMESTAMP, pa.int64())):
            at = schema.get_field_index(name)
            if at < 0 or schema.types[at] != kind:
                found = "is missing" if at < 0 else f"is {schema.types[at]}"
                raise StoreError(f"view {batch.view}: column {name} {found}, but {kind} is declared")
        if batch.rows.column(TIMESTAMP).null_count:
            raise StoreError(f"view {batch.view}: a row has no {TIMESTAMP}")
        self._checked = schema

    def _newest(self, rows: pa.RecordBatch) -> tuple[list[bytes], list[int], int]:
        """The keys of all rows; which rows are to be written: of each key the newest that has not expired,
        of equally new ones the last; and how many have expired."""
        times = _times(rows)
        keys = self._keys.keys({name: rows.column(name) for name, _ in self._view.entity})
        order = np.argsort(times, kind="stable")
        live = order[times[order] + self._view.ttl_ms >= int(self._now() * 1000)].tolist()
        return keys, list({keys[i]: i for i in live}.values()), len(keys) - len(live)

    def _send(self, rows: pa.RecordBatch, keys: list[bytes]) -> int:
        """All requests, then all answers: one round trip. Returns how many rows were older than stored."""
        requests = 0
        with connection(self._pool) as redis:
            for names, layout, data in self._prepared(rows, keys):
                run = ("EVALSHA", self._digest) if self._loaded or requests else ("EVAL", self._script)
                command = (*run, len(names), *names, layout, data, *self._fields)
                redis.send_packed_command(redis.pack_command(*command))
                requests += 1
            older = sum(redis.read_response() for _ in range(requests))
        self._loaded = True
        return older

    def _prepared(
        self, rows: pa.RecordBatch, keys: list[bytes]
    ) -> Iterator[tuple[list[bytes], str, bytes | memoryview]]:
        """Keys, layout and rows of each script."""
        if len(keys) <= SMALL:
            yield keys, *self._encode_small(rows)
            return
        for start in range(0, len(keys), _ENCODED):
            layout, encoded = self._encode(rows.slice(start, _ENCODED))
            for at in range(0, len(encoded), _SCRIPT_ROWS):
                names = keys[start + at : start + min(at + _SCRIPT_ROWS, len(encoded))]
                yield names, layout, data_of(encoded.slice(at, _SCRIPT_ROWS))

    def _encode_small(self, rows: pa.RecordBatch) -> tuple[str, bytes]:
        times = rows.column(TIMESTAMP).to_pylist()
        expiry = [b"%d" % (at + self._keep_ms) for at in times]
        values = (encode_small(rows.column(name), kind) for name, kind in self._view.features)
        return small_records(times, [expiry, encode_small_times(times), *values])

    def _encode(self, rows: pa.RecordBatch) -> tuple[str, pa.BinaryArray]:
        """As the script takes them: event time, expiry, and the values of the fields."""
        times = _times(rows)
        number = ragged(times.astype("<f8").view(np.uint8).reshape(-1, 8), np.full(len(times), 8))
        expiry = pa.array(times + self._keep_ms).cast(pa.string()).cast(pa.binary())
        values = (encode(rows.column(name), kind) for name, kind in self._view.features)
        layout, encoded = records([number, expiry, encode_times(times), *values])
        return layout.replace("c8", "d", 1), encoded

    def _count(self, state: RetryCallState) -> None:
        self.retries += 1
        self._loaded = False  # a server that has been away may have forgotten the script
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        _log.warning(
            "Redis takes no rows of view %s (%s), try %d; again in %.1f s",
            *(self._view.id, error, state.attempt_number, wait),
        )


def _times(rows: pa.RecordBatch) -> NDArray[np.int64]:
    return rows.column(TIMESTAMP).to_numpy()
