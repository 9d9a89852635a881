"""The controller of experiments: `flink run -py jobs/experiment.py --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/experiment.py --folder.root DIR`. See docs/lifecycle.md."""

from __future__ import annotations

import sys

from pyflink.datastream import KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka, named_topics
from jobs.running import run
from jobs.settings.experiment import ExperimentSettings
from jobs.wiring import add_sink, add_sinks, published_models, read_records
from operators.key_groups import KeyGroups, key_groups
from operators.lifecycle.control_experiments import EXPERIMENTS, ControlExperiments
from operators.rows import MODEL_EVENTS, OUTPUTS
from operators.side_outputs import side_output
from operators.sinks.folder import add_model_folder_sink
from operators.sources.gathering import DataTypes, micro_batches
from udfs.models.model_store import StoreSpec


def build(env: StreamExecutionEnvironment, settings: ExperimentSettings) -> None:
    """Evidence and the model stream meet in one instance, which writes plans back to the model stream."""
    groups = key_groups(env)
    models = published_models(env, settings, StoreSpec())
    evidence = _evidence(env, settings, groups)
    operator = ControlExperiments(
        int(settings.stats_seconds * 1000),
        settings.registry,
        settings.signing.signs(),
        settings.models.version_jump,
    )
    plans = evidence.connect(models.by_instance(groups, "control", 1)).process(operator, OUTPUTS)
    plans = plans.set_parallelism(1).uid("control").name("control").set_buffer_timeout(0).disable_chaining()
    told = {
        "experiments": side_output(plans, EXPERIMENTS),
        "model_events": side_output(models.descriptors, MODEL_EVENTS),
    }
    add_sinks(told, settings)
    if settings.reads_kafka:
        add_sink(plans, "models", settings, "kafka")
    else:
        assert settings.folder is not None
        add_model_folder_sink(plans, (settings.folder.root.resolve() / "models").as_uri(), "plans")


def check(settings: ExperimentSettings) -> None:
    """Raises `SourceError` where the broker or a topic is missing."""
    reads = named_topics(settings.kafka, ("evidence", "models"))
    check_kafka(settings, reads, ("experiments", "model_events"))


def _evidence(
    env: StreamExecutionEnvironment, settings: ExperimentSettings, groups: KeyGroups
) -> KeyedStream:
    """Read by one instance, as the experiments of a data type are judged together."""
    topics = named_topics(settings.kafka, ["evidence"])
    records = read_records(env, settings, topics, "evidence", parallelism=1)
    gathering = settings.batch.gathering(settings.mode)
    return micro_batches(records, DataTypes({}), gathering, "evidence", groups)


if __name__ == "__main__":
    sys.exit(run(build, ExperimentSettings, sys.argv[1:], check))
