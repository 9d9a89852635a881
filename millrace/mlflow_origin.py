"""Which version of an MLflow registry a model was taken from, as the registry here keeps it (`source`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from millrace.mlflow_models import SCHEME

_SOURCE = re.compile(rf"{SCHEME}([^/@]+)/(\d+) of MLflow at (\S+?)(?:, run (\S+))?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """A version there. `url`: of its server, as the publisher reached it; `run`: empty where it is of none.

    >>> Origin.of(str(Origin("wine", 3, "http://mlflow:5000", "a1")))
    Origin(name='wine', version=3, url='http://mlflow:5000', run='a1')
    """

    name: str
    version: int
    url: str
    run: str = ""

    def __str__(self) -> str:
        of_run = f", run {self.run}" if self.run else ""
        return f"{SCHEME}{self.name}/{self.version} of MLflow at {self.url}{of_run}"

    @classmethod
    def of(cls, source: str) -> Origin | None:
        """What a `source` says; None where it names no MLflow."""
        found = _SOURCE.fullmatch(source)
        return cls(found[1], int(found[2]), found[3], found[4] or "") if found else None

    def is_at(self, urls: Iterable[str]) -> bool:
        """Whether its server is one of these, however their URLs are written."""
        return _server(self.url) in map(_server, urls)


def _server(url: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # of a registry that something else has written
        return (url,)
    return parts.hostname, port, parts.path.rstrip("/")
