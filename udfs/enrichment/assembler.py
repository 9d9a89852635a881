"""The state machine of assembly, without Flink and without a clock: look up, fetch, let go."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from schemas.errors import RegistryError, StoreError
from udfs.enrichment.base import Created, Creator, Expired, Outcome, PredictionRequest
from udfs.enrichment.lookup import look_up
from udfs.enrichment.on_demand import OnDemandFetcher
from udfs.enrichment.plans import Plans
from udfs.enrichment.vector import OpenRequest
from udfs.stores.online.base import OnlineReader

_LOOK_AGAIN_MS = 200
"""How long a store that was away is left alone: each try may take as long as its timeout."""


@dataclass(slots=True)
class _Requests:
    """Those of one key. `due`: by deadline, with a number that tells equals apart."""

    open: dict[str, OpenRequest] = field(default_factory=dict)
    due: list[tuple[int, int, OpenRequest]] = field(default_factory=list)
    ready: list[Outcome] = field(default_factory=list)


class OnlineAssembler:
    """Requests in, completions and expirations out; exactly one for each request. Pure: who calls keeps what
    is `open` in Flink state, hands it to `take` again after a restart, and has the clock. Store and creator
    are the caller's to close.

    A request belongs to a key, under a name that is its own there, and its outcome leaves by calls for that
    key, so that the state of one key holds all that is open of it. Times are epoch milliseconds.
    """

    def __init__(self, plans: Plans, reader: OnlineReader, creator: Creator) -> None:
        self._plans, self._reader = plans, reader
        self._on_demand = OnDemandFetcher(creator)
        self._requests: defaultdict[str, _Requests] = defaultdict(_Requests)
        self._unread: dict[OpenRequest, None] = {}
        self._look_again, self._why = 0, ""
        self._created: list[Created] = []
        self._number = count()

    def take(self, key: str, requests: Mapping[str, PredictionRequest], now: int) -> Sequence[Outcome]:
        """One round trip to the online store for all of them; what is complete is returned at once, with
        whatever else is ready for this key."""
        home, new = self._requests[key], []
        for name, request in requests.items():
            if name not in home.open:
                # a clock that is ahead of ours does not prolong a request
                one = OpenRequest(key, name, request, min(request.created, now) + request.expires_ms)
                home.open[name] = one
                new.append(one)
        if self._unread and now < self._look_again:
            self._put_off(new)
        else:
            self._look_up(new, now)
        for one in new:
            if home.open.get(one.name) is one:
                heapq.heappush(home.due, (one.deadline, next(self._number), one))
        return self.on_timer(key, now)

    def on_timer(self, key: str, now: int) -> Sequence[Outcome]:
        """What answers of creators have completed, and requests whose time ran out."""
        created, completed = self._on_demand.collect(now)
        self._created += created
        self._complete(completed, now)
        if self._unread and now >= self._look_again:
            again, self._unread = self._unread, {}
            self._look_up(again, now)
        home = self._requests[key]
        while home.due and home.due[0][0] <= now:
            _, _, one = heapq.heappop(home.due)
            if home.open.get(one.name) is one:
                self._leave(one, one.expired())
        self._on_demand.ask(now)
        ready, home.ready = home.ready, []
        if not home.open:
            del self._requests[key]
        return ready

    def created(self) -> Sequence[Created]:
        """What creators made since it was last asked, of all keys, for the caller to store."""
        made, self._created = self._created, []
        return made

    def open(self, key: str) -> Mapping[str, PredictionRequest]:
        home = self._requests.get(key)
        return {name: one.request for name, one in home.open.items()} if home else {}

    def _look_up(self, asked: Iterable[OpenRequest], now: int) -> None:
        """Once for all of them. What the registry or the store cannot say now is asked again later."""
        planned = []
        for one in asked:
            if one.deadline <= now:
                continue  # the timer that follows lets it go
            try:
                one.plan_by(self._plans, now)
                planned.append(one)
            except (RegistryError, ValueError) as e:
                self._leave(one, Expired(one.request, reason=str(e)))
            except StoreError as e:
                self._away(e, now)
                self._put_off([one])
        try:
            look_up(self._reader, planned, now)
        except StoreError as e:
            self._away(e, now)
            self._put_off(planned)
            return
        for one in planned:
            self._on_demand.fill(one, now)
        self._complete([one for one in planned if not one.missing], now)
        for one in planned:
            if any(need.on_demand is None for need in one.missing_needs()):
                self._leave(one, one.expired())
            elif one.missing:
                self._on_demand.add(one)

    def _away(self, why: StoreError, now: int) -> None:
        self._why, self._look_again = str(why), now + _LOOK_AGAIN_MS

    def _put_off(self, asked: Iterable[OpenRequest]) -> None:
        for one in asked:
            one.reason = self._why
            self._unread[one] = None

    def _complete(self, completed: Iterable[OpenRequest], now: int) -> None:
        for one in completed:
            self._leave(one, one.completed(now) if now < one.deadline else one.late())

    def _leave(self, one: OpenRequest, outcome: Outcome) -> None:
        """The request's only outcome."""
        home = self._requests[one.key]
        del home.open[one.name]
        home.ready.append(outcome)
        self._on_demand.forget(one)
        self._unread.pop(one, None)
