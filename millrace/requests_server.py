"""The HTTP server below the endpoint: uvicorn, with bounds on how long and how many clients may keep it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_LONGEST_HEADER = 16_384


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, and its bounds.

    `certificate` and `key`: files, for TLS. `client_ca`: whose certificates clients must have, a file.
    `connections`: the most at once. `header_seconds`: what a connection has for the head of a request.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    connections: int = 256
    header_seconds: float = 10.0


def server(app: Any, where: Listening) -> uvicorn.Server:
    """Not yet running. Raises `OSError` or `ssl.SSLError` for certificates that cannot be read."""

    class Bounded(H11Protocol):
        """Ends a connection whose request does not begin in time: uvicorn itself waits for ever."""

        _due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._due = self.loop.call_later(where.header_seconds, self._too_late)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._due is not None:
                self._due.cancel()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and self._due is not None:
                self._due.cancel()
                self._due = None

        def _too_late(self) -> None:
            self.transport.close()

    config = uvicorn.Config(
        app,
        host=where.host,
        port=where.port,
        http=Bounded,
        ws="none",
        log_level="info",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=where.connections,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=_LONGEST_HEADER,
        ssl_certfile=where.certificate or None,
        ssl_keyfile=where.key or None,
        ssl_ca_certs=where.client_ca or None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if where.client_ca else ssl.CERT_NONE,
    )
    config.load()
    return uvicorn.Server(config)
