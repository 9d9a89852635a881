"""The model that a stamp names, from what is stored: the registry, the model store, the model stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from schemas.errors import DescriptorError, LocationError, RegistryError
from udfs.lifecycle.repository.published import with_content
from udfs.models.descriptor import DECIDE, SERVE, Publication, parse
from udfs.stores.registry.model_records import RegisteredModel
from udfs.stores.registry.models import ModelRegistry


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a stamp names. `digest`: the beginning of one."""

    data_type: str
    name: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version} ({self.digest})"


class Finder:
    """`registry`: None where there is none. `published`: messages of the model stream, read when something
    is not in the registry. `store`: root of a model store, or empty."""

    def __init__(
        self, registry: ModelRegistry | None, published: Callable[[], Iterable[bytes]], store: str = ""
    ) -> None:
        self._registry, self._published, self._store = registry, published, store.rstrip("/")

    def registered(self, who: Who) -> RegisteredModel | None:
        """What the registry has of a model."""
        if self._registry is None:
            return None
        return self._registry.by_stamp(who.data_type, who.name, who.version, who.digest)

    def served_by(self, who: Who) -> list[str]:
        """The versions of jobs' code that served a model, the first one first; none without a registry."""
        if self._registry is None:
            return []
        try:
            events = self._registry.events(who.name, who.data_type)
        except RegistryError:  # of a release that kept no models
            return []
        served = (e for _, e in events if e.version == who.version and e.digest.startswith(who.digest))
        return list(dict.fromkeys(event.code for event in served if event.code))

    def model(self, who: Who) -> Publication:
        """How it was published, with its content or where that lies.

        Raises `RegistryError` where nobody knows it, and `LocationError` where nobody knows its content.
        """
        known = self.registered(who)
        if known is not None and known.descriptor:
            try:
                return with_content(known.descriptor, self._location)
            except LocationError:
                found = self._on_stream(who)
                if found is None:
                    raise
                return found
        found = self._on_stream(who)
        if found is None:
            raise RegistryError(f"neither the registry nor the model stream has {who}")
        return found

    def plan(self, data_type: str, name: str, version: int) -> str | None:
        """A plan as JSON; None where nobody knows it."""
        if self._registry is not None:
            plans = [p for p in self._registry.plans(name, data_type) if p.version == version]
            if plans:
                return plans[-1].plan
        for said in reversed(self._stream):
            if said.operation == DECIDE and (said.data_type, said.name, said.version) == (
                data_type,
                name,
                version,
            ):
                return said.plan
        return None

    def _on_stream(self, who: Who) -> Publication | None:
        for said in reversed(self._stream):
            if (
                said.operation == SERVE
                and (said.data_type, said.name) == (who.data_type, who.name)
                and said.version in (0, who.version)
                and said.sha256.startswith(who.digest)
            ):
                return replace(said, version=who.version)
        return None

    def _location(self, digest: str) -> str | None:
        contents = self._registry.contents(digest) if self._registry is not None else []
        if contents:
            return contents[0].location
        return f"{self._store}/{digest}" if self._store and digest else None

    @cached_property
    def _stream(self) -> list[Publication]:
        found = []
        for message in self._published():
            try:
                found.append(parse(message))
            except DescriptorError:
                continue
        return found
