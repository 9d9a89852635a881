"""Who may ask the endpoint for predictions, how often, and in which form."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_CLIENTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one client may ask for.

    `rate`: requests a second of one address, 0 for any; as many more may come at once. `body_seconds`: until
    a body must be here. `hosts`: what the header Host may say; empty: anything.
    """

    rate: float = 0.0
    body_seconds: float = 10.0
    hosts: frozenset[str] = frozenset()


class Rate:
    """A token bucket for each client; those that were heard of last are remembered. `now`: seconds."""

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._now = rate, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """0 where the client may go on now, else the seconds until it may."""
        if not self._rate:
            return 0.0
        now, most = self._now(), max(self._rate, 1.0)
        left, at = self._buckets.pop(client, (most, now))
        left = min(most, left + (now - at) * self._rate)
        self._buckets[client] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._buckets) > _CLIENTS_KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate


class RequestGuard:
    """`tokens`: any of them lets a request in, as `Authorization: Bearer TOKEN`; none: all are let in."""

    def __init__(
        self, tokens: Sequence[str] = (), limits: RequestLimits | None = None, rate: Rate | None = None
    ) -> None:
        self._tokens = [token.encode() for token in tokens]
        self.limits = limits or RequestLimits()
        self._rate = rate or Rate(self.limits.rate)

    def refusal(self, request: Request) -> Response | None:
        """Why the request is not read, or None."""
        hosts = self.limits.hosts
        if hosts and _host(request) not in hosts:
            # a page in a browser reaches a local address by a name of its own; its Host header tells
            return JSONResponse({"error": "this host is not served here"}, 421)
        wait = self._rate.wait(request.client.host if request.client else "")
        if wait:
            return JSONResponse(
                {"error": "too many requests"}, 429, {"retry-after": str(max(int(wait + 0.999), 1))}
            )
        if self._tokens and not self._known(request.headers.get("authorization", "")):
            return JSONResponse({"error": "give a token"}, 401, {"www-authenticate": "Bearer"})
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # what a browser sends across origins without asking first is never this
            return JSONResponse({"error": "the content type of a request is application/json"}, 415)
        return None

    def _known(self, said: str) -> bool:
        scheme, _, token = said.partition(" ")
        given = token.strip().encode()
        right = [hmac.compare_digest(given, one) for one in self._tokens]  # all, whichever fits
        return scheme.lower() == "bearer" and any(right)


def _host(request: Request) -> str:
    """The host of the header, in lower case, without its port."""
    host = request.headers.get("host", "").strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
