"""Which aliases of MLflow follow those of the registry, and for what each is to stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from millrace.mlflow_origin import Origin
from udfs.stores.registry.model_records import AliasChange, RegisteredModel


class AliasName(NamedTuple):
    """Of a model of MLflow."""

    model: str
    alias: str


@dataclass(slots=True)
class AliasThere:
    """`wanted`: the versions for which the alias stands here, by whatever names; `left`: stood before."""

    wanted: set[Origin] = field(default_factory=set)
    left: set[Origin] = field(default_factory=set)

    def stood_for(self, version: int) -> bool:
        """Whether it stood for this version before."""
        return version in {one.version for one in self.left}


def aliases_there(
    models: Iterable[RegisteredModel], changes: Iterable[AliasChange], urls: Collection[str]
) -> Mapping[AliasName, AliasThere]:
    """Of versions from the server at `urls`; `changes`: the history of aliases, the oldest first."""
    origins: dict[tuple[str, str, int], Origin] = {}
    for model in models:
        origin = Origin.of(model.source)
        if origin is not None and origin.is_at(urls):
            origins[model.data_type, model.name, model.version] = origin
    found: defaultdict[AliasName, AliasThere] = defaultdict(AliasThere)
    for (data_type, name, alias), history in groupby(sorted(changes, key=_which), key=_which):
        stood = [origins.get((data_type, name, change.version)) for change in history]
        for place, origin in enumerate(stood, 1):
            if origin is not None:
                there = found[AliasName(origin.name, alias)]
                (there.wanted if place == len(stood) else there.left).add(origin)
    return dict(sorted(found.items()))


def _which(change: AliasChange) -> tuple[str, str, str]:
    return change.data_type, change.name, change.alias
