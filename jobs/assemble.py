"""Prediction requests to scoring input: `flink run -py jobs/assemble.py --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/assemble.py --folder.root DIR`. See docs/features.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pyflink.datastream import KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka, named_topics
from jobs.feature_stores import add_history, check_history
from jobs.running import run
from jobs.settings.assemble import AssembleSettings
from jobs.wiring import add_sinks, read_records
from operators.features.assemble_requests import AssembleRequests
from operators.features.assembly_rows import EXPIRED, MADE
from operators.key_groups import key_groups
from operators.rows import DEAD_LETTERS, OUTPUTS
from operators.side_outputs import side_output
from operators.sinks.redis_sink import add_redis_sink
from operators.sources.gathering import DataTypes, micro_batches
from schemas.errors import SettingsError
from udfs.enrichment.assembly_spec import AssemblySpec
from udfs.enrichment.http_creator import may_ask
from udfs.stores.online.base import StoredView
from udfs.stores.registry.sql import SqlRegistry


def build(env: StreamExecutionEnvironment, settings: AssembleSettings) -> None:
    """Requests where they are read; what was created on demand goes to the stores."""
    views, made = _views(settings)
    spec = AssemblySpec(settings.registry, settings.redis, views, tuple(made), settings.on_demand_hosts)
    assembled = _requests(env, settings).process(AssembleRequests(spec), OUTPUTS)
    assembled.name("assemble").uid("assemble").set_buffer_timeout(0).disable_chaining()
    if made:
        add_redis_sink(side_output(assembled, MADE), made, settings.redis, "created")
        if settings.history is not None:
            add_history(env, [assembled], made, settings.history)
    outputs = {
        "assembled": assembled,
        "expired": side_output(assembled, EXPIRED),
        "dead_letters": side_output(assembled, DEAD_LETTERS),
    }
    add_sinks(outputs, settings)


def check(settings: AssembleSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    _, made = _views(settings)
    _check_hosts(settings, made)
    reads = named_topics(settings.kafka, ["requests"])
    check_kafka(settings, reads, ("assembled", "expired", "dead_letters"))
    if settings.history is not None and made:
        check_history(settings.history, settings.s3, with_cluster=settings.jars is None)


def _views(settings: AssembleSettings) -> tuple[dict[str, StoredView], dict[str, StoredView]]:
    """All views of the registry, and those that have a creator."""
    registry = SqlRegistry(settings.registry)
    views = {view.id: registry.stored(view.id) for view in registry.declarations().views}
    return views, {name: view for name, view in views.items() if registry.on_demand(name)}


def _check_hosts(settings: AssembleSettings, made: Iterable[str]) -> None:
    """Raises `SettingsError`: who can write the registry could else make the job ask anything anywhere."""
    registry = SqlRegistry(settings.registry)
    for view in made:
        creator = registry.on_demand(view)
        if creator is not None and not may_ask(creator.url, settings.on_demand_hosts):
            raise SettingsError(
                f"{view} is made on demand by a service that on_demand_hosts does not name; add its host"
            )


def _requests(env: StreamExecutionEnvironment, settings: AssembleSettings) -> KeyedStream:
    records = read_records(env, settings, named_topics(settings.kafka, ["requests"]), "records")
    gathering = settings.batch.gathering(settings.mode)
    return micro_batches(records, DataTypes({}), gathering, "records", key_groups(env))


if __name__ == "__main__":
    sys.exit(run(build, AssembleSettings, sys.argv[1:], check))
