"""A Redis server without persistence."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis

from devservices.process import Daemon, ServiceError, environment, free_port


class Redis(Daemon):
    """`with Redis() as server: server.client().ping()`; `host`, `port` and `url` say where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.host, self.port = "127.0.0.1", free_port()
        self.url = f"redis://{self.host}:{self.port}"

    @staticmethod
    def available() -> bool:
        """Whether redis-server is installed."""
        return shutil.which("redis-server", path=environment()["PATH"]) is not None

    def client(self) -> redis.Redis:
        """A new client; bytes in, bytes out."""
        return redis.Redis(host=self.host, port=self.port)

    def start(self) -> None:
        if not self.available():
            raise ServiceError("redis-server is not on PATH: install Debian's redis-server.")
        where: list[str | Path] = ["--bind", self.host, "--port", str(self.port), "--dir", self.folder]
        self.run(["redis-server", *where, "--save", "", "--appendonly", "no"], self._answers)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
