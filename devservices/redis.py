"""A Redis server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import redis

from devservices.process import Daemon, ServiceError, environment, free_port


class Redis(Daemon):
    """`with Redis() as server: server.client().ping()`; `host`, `port` and `url` say where it is.

    `settings` are those of redis.conf; without any there is no persistence, password or TLS. `client` is what
    redis-py then needs to reach it. With `tls-port` (any value) its port is for TLS alone.
    """

    def __init__(self, settings: dict[str, str] | None = None, client: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.settings, self._client = {"save": "", "appendonly": "no", **(settings or {})}, client or {}
        self.host, self.port = "127.0.0.1", free_port()
        tls = "tls-port" in self.settings
        self.settings |= {"port": "0", "tls-port": str(self.port)} if tls else {"port": str(self.port)}
        self.url = f"redis{'s' if tls else ''}://{self.host}:{self.port}"

    @staticmethod
    def available() -> bool:
        """Whether redis-server is installed."""
        return shutil.which("redis-server", path=environment()["PATH"]) is not None

    def client(self) -> redis.Redis:
        """A new client; bytes in, bytes out."""
        return redis.Redis(host=self.host, port=self.port, **self._client)

    def start(self) -> None:
        if not self.available():
            raise ServiceError("redis-server is not on PATH: install Debian's redis-server.")
        command: list[str | Path] = ["redis-server", "--bind", self.host, "--dir", self.folder]
        for name, value in self.settings.items():
            command += [f"--{name}", value]
        self.run(command, self._answers)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
