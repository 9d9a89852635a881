"""What an assembling operator is made of, as plain values that travel with the job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from udfs.enrichment.assembler import OnlineAssembler
from udfs.enrichment.base import Creator
from udfs.enrichment.http_creator import HttpCreator
from udfs.enrichment.plans import Plans
from udfs.stores.online.base import OnlineReader, RedisOptions, StoredView
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.registry.sql import SqlRegistry


@dataclass(slots=True)
class Assembling:
    """An assembler with what it works on, to be closed together."""

    assembler: OnlineAssembler
    creator: Creator
    reader: OnlineReader
    registry: SqlRegistry

    def close(self) -> None:
        for one in (self.creator, self.reader, self.registry):
            one.close()


@dataclass(frozen=True, slots=True)
class AssemblySpec:
    """`registry`: its URL. `views`: all that can be read. `made`: ids of those that may be created on demand,
    for which the job has a place to store them. `hosts`: the services that may be asked for them."""

    registry: str = field(repr=False)  # may hold a password
    redis: RedisOptions
    views: Mapping[str, StoredView]
    made: Collection[str]
    hosts: Collection[str] = ()

    def assembling(self) -> Assembling:
        registry, creator = SqlRegistry(self.registry), HttpCreator(self.hosts)
        reader = RedisReader(self.views, self.redis)
        plans = Plans(registry, self.views, self.made)
        return Assembling(OnlineAssembler(plans, reader, creator), creator, reader, registry)
