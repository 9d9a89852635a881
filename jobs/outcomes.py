"""Results meet outcomes: `flink run -py jobs/outcomes.py --config FILE --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/outcomes.py --folder.root DIR`. See docs/lifecycle.md."""

from __future__ import annotations

import sys
from typing import Literal

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka, named_topics
from jobs.feature_stores import check_history, history_options
from jobs.running import run
from jobs.settings.features import History
from jobs.settings.outcomes import OutcomesSettings
from jobs.wiring import add_sinks, read_records
from operators.environment import submitted
from operators.features.feature_rows import HISTORY
from operators.flink_internals import keyed_by_first
from operators.key_groups import KeyGroups, key_groups
from operators.lifecycle.count_quality import CountQuality
from operators.lifecycle.join_outcomes import JoinOutcomes
from operators.lifecycle.outcome_rows import COUNTS, DELIVERY, EVIDENCE, SETTLED
from operators.lifecycle.read_outcomes import ReadOutcomes
from operators.rows import DEAD_LETTERS, OUTPUTS
from operators.side_outputs import side_output
from operators.sinks.history_sink import add_history_sink
from operators.sources.gathering import DataTypes, micro_batches
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.rows import MODEL, columns
from udfs.stores.history.files import check_schema

_READ: tuple[Literal["results"], Literal["outcomes"]] = ("results", "outcomes")
_WRITTEN = ("quality", "evidence", "outcome_counts", "dead_letters")


def build(env: StreamExecutionEnvironment, settings: OutcomesSettings) -> None:
    """Results and outcomes to the instances of their keys; what they settle to the store, and to quality."""
    spec, groups = settings.join(), key_groups(env)
    results, outcomes = (
        _read(_batches(env, settings, groups, name), ReadOutcomes(name, spec, groups), name) for name in _READ
    )
    predictions = keyed_by_first(results, DELIVERY)
    both = predictions.connect(keyed_by_first(outcomes, DELIVERY))
    joined = both.process(JoinOutcomes(spec, groups), SETTLED)
    joined.name("join outcomes").uid("join").set_buffer_timeout(0).disable_chaining()
    quality = keyed_by_first(joined, SETTLED).process(CountQuality(spec, groups), OUTPUTS)
    quality.name("count quality").uid("quality").set_buffer_timeout(0).disable_chaining()
    if settings.store is not None:
        _add_store(env, joined, spec, settings.store)
    outputs = {
        "quality": quality,
        "evidence": side_output(joined, EVIDENCE),
        "outcome_counts": side_output(joined, COUNTS),
        "dead_letters": side_output([results, outcomes, joined], DEAD_LETTERS),
    }
    add_sinks(outputs, settings)


def check(settings: OutcomesSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    check_kafka(settings, named_topics(settings.kafka, _READ), _WRITTEN)
    store = settings.store
    if store is not None:
        check_history(store, settings.s3, with_cluster=submitted())
        for name, judging in settings.join().judged.items():
            check_schema(store.location(), name, columns(judging), settings.s3)


def _read(batches: KeyedStream, reader: ReadOutcomes, what: str) -> DataStream:
    """Rows of DELIVERY."""
    read = batches.process(reader, DELIVERY).name(f"read {what}").uid(f"read-{what}")
    return read.set_buffer_timeout(0).disable_chaining()


def _batches(
    env: StreamExecutionEnvironment, settings: OutcomesSettings, groups: KeyGroups, what: str
) -> KeyedStream:
    records = read_records(env, settings, named_topics(settings.kafka, [what]), what)
    gathering = settings.batch.gathering(settings.mode)
    return micro_batches(records, DataTypes({}), gathering, what, groups, marks=True, beats=True)


def _add_store(env: StreamExecutionEnvironment, joined: DataStream, spec: JoinSpec, store: History) -> None:
    """A Parquet table for each data type, by day and model."""
    tables = {name: columns(judging) for name, judging in spec.judged.items()}
    add_history_sink(env, side_output(joined, HISTORY), tables, history_options(store, (MODEL,)))


if __name__ == "__main__":
    sys.exit(run(build, OutcomesSettings, sys.argv[1:], check))
