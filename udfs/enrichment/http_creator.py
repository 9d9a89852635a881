"""The shipped creator: an HTTP service makes a view's features."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import httpx
import orjson

from udfs.enrichment.base import Created
from udfs.enrichment.http_answer import AnswerError, fetch, values_of
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import OnDemand

Entity = tuple[str | int, ...]


@dataclass(slots=True, eq=False)
class _Call:
    how: OnDemand
    view: StoredView
    entity: Entity
    until: float
    """Monotonic seconds."""


@dataclass(slots=True)
class _Pool:
    """The threads of one view; `busy` counts also those whose call was given up and has not returned."""

    calls: SimpleQueue[_Call | None] = field(default_factory=SimpleQueue)
    threads: int = 0
    busy: int = 0


class HttpCreator:
    """A `udfs.enrichment.base.Creator`: POST of the entity as a JSON object, e.g. `{"house": "h1"}`.

    A call that has no answer at its timeout is answered with an error then and there, whatever holds it up
    (httpx bounds single reads, and no look-up of names); its thread keeps its place until it returns.
    """

    def __init__(self, hosts: Collection[str], transport: httpx.BaseTransport | None = None) -> None:
        """`hosts`: the services that may be asked, as HOST or HOST:PORT; `*` for any."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx.Client(transport=transport, limits=limits, follow_redirects=False)
        self._hosts = frozenset(hosts)
        self._news = threading.Condition()
        self._pools: dict[str, _Pool] = {}
        self._running: dict[tuple[str, Entity], _Call] = {}
        self._done: list[Created] = []

    def ask(self, how: OnDemand, view: StoredView, entity: Entity) -> bool:
        with self._news:
            if (view.id, entity) in self._running:
                return True
            pool = self._pools.setdefault(view.id, _Pool())
            if pool.busy >= how.concurrency:
                return False
            pool.busy += 1
            call = _Call(how, view, entity, time.monotonic() + how.timeout_ms / 1000)
            self._running[view.id, entity] = call
            if pool.threads < pool.busy:
                pool.threads += 1
                name = f"create-{view.id}-{pool.threads}"
                threading.Thread(target=self._run, args=(pool,), name=name, daemon=True).start()
        pool.calls.put(call)
        return True

    def answers(self) -> Sequence[Created]:
        now = time.monotonic()
        with self._news:
            for call in [call for call in self._running.values() if call.until <= now]:
                self._settle(call, _failed(call, f"no answer within {call.how.timeout_ms} ms"))
            done, self._done = self._done, []
        return done

    def wait(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._done, seconds)

    def close(self) -> None:
        """Idle threads end; a call that is under way ends by itself and is heard by nobody."""
        with self._news:
            for pool in self._pools.values():
                for _ in range(pool.threads):
                    pool.calls.put(None)
            self._pools, self._running = {}, {}
        self._client.close()

    def _run(self, pool: _Pool) -> None:
        while (call := pool.calls.get()) is not None:
            answer = self._create(call)
            with self._news:
                pool.busy -= 1
                self._settle(call, answer)

    def _settle(self, call: _Call, answer: Created) -> None:
        """The call's only answer; a later one is thrown away."""
        key = call.view.id, call.entity
        if self._running.get(key) is call:
            del self._running[key]
            self._done.append(answer)
            self._news.notify_all()

    def _create(self, call: _Call) -> Created:
        names = [name for name, _ in call.view.entity]
        question = orjson.dumps(dict(zip(names, call.entity, strict=True)))

        def left_s() -> float:
            return call.until - time.monotonic()

        try:
            if not may_ask(call.how.url, self._hosts):
                raise AnswerError("its service is not among those that may be asked (on_demand_hosts)")
            if left_s() <= 0:
                raise AnswerError("its time was over before it began")
            body = fetch(self._client, call.how.url, question, left_s)
            values: dict[str, Any] = values_of(body, call.how, dict(call.view.features))
        except AnswerError as e:
            return _failed(call, str(e))
        except httpx.TimeoutException:
            return _failed(call, f"no answer within {call.how.timeout_ms} ms")
        except Exception as e:  # whatever it is, the thread and the request must not hang on it
            return _failed(call, f"{type(e).__name__}: {' '.join(str(e).split())[:200]}")
        return Created(call.view, call.entity, _now(), values)


def may_ask(url: str, hosts: Collection[str]) -> bool:
    """Whether one of `hosts` (HOST, HOST:PORT, or `*`) is the URL's.

    >>> may_ask("http://prices:8080/x", ["prices"]), may_ask("http://prices:81/", ["prices:8080"])
    (True, False)
    """
    try:
        asked = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return False
    if asked.scheme not in ("http", "https") or not asked.host:
        return False
    port = asked.port or (443 if asked.scheme == "https" else 80)
    return bool({"*", asked.host, f"{asked.host}:{port}"} & set(hosts))


def _failed(call: _Call, why: str) -> Created:
    return Created(call.view, call.entity, _now(), error=why)


def _now() -> int:
    return time.time_ns() // 1_000_000
