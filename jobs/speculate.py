"""Several models race for each record: `flink run -py jobs/speculate.py --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/speculate.py --folder.root DIR`. See docs/speculate.md."""

from __future__ import annotations

import sys

from pyflink.datastream import DataStream, StreamExecutionEnvironment

from jobs.broker import check_streams
from jobs.running import run
from jobs.settings.speculate import SpeculateSettings
from jobs.wiring import add_outputs, model_store, model_stream, record_stream
from operators.ensemble.collector import Collector
from operators.ensemble.executor import ExecutorOperator
from operators.ensemble.router import DECISION_CONTEXTS, REQUESTS, RouterOperator
from operators.ensemble.speculation_rows import ANSWER, DECISION_CONTEXT, REQUEST
from operators.flink_internals import keyed_by_first
from operators.key_groups import KeyGroups, key_groups
from operators.rows import OUTPUTS
from operators.side_outputs import side_output
from operators.sources.models import PublishedModels
from udfs.models.model_store import StoreSpec


def build(env: StreamExecutionEnvironment, settings: SpeculateSettings) -> None:
    """Router, an executor for each model type, collector: a micro-batch stays where it was read."""
    groups, models, store = key_groups(env), model_stream(env, settings), model_store(env, settings)
    records = record_stream(env, settings, groups)
    router = RouterOperator(settings.router(), groups)
    routed = records.connect(models.by_instance(groups, "route")).process(router, REQUEST)
    _alone(routed, "route", "default").name("route")
    executors = [
        _executor(routed, models, groups, settings, model_type=name, store=store)
        for name in settings.executors.model_types
    ]
    answers = keyed_by_first(executors[0].union(*executors[1:]), ANSWER)
    contexts = keyed_by_first(side_output(routed, DECISION_CONTEXTS), DECISION_CONTEXT)
    decided = contexts.connect(answers).process(Collector(settings.collector()), OUTPUTS)
    _alone(decided, "collect", "default").name("collect")
    add_outputs(decided, settings, [routed, *executors, models.descriptors])


def _executor(
    routed: DataStream,
    models: PublishedModels,
    groups: KeyGroups,
    settings: SpeculateSettings,
    *,
    model_type: str,
    store: StoreSpec,
) -> DataStream:
    """The candidates of one model type, with threads, and if wanted slots, of their own."""
    own = settings.executors
    uid = f"execute-{model_type.lower()}"
    sent = routed if model_type == own.model_types[0] else side_output(routed, REQUESTS[model_type])
    published = models.by_instance(groups, uid, own.parallelism)
    operator = ExecutorOperator(settings.executor(model_type, store), groups)
    answers = keyed_by_first(sent, REQUEST).connect(published).process(operator, ANSWER)
    if own.parallelism is not None:
        answers.set_parallelism(own.parallelism)
    return _alone(answers, uid, "default" if own.slots == "shared" else uid).name(f"execute {model_type}")


def _alone(stream: DataStream, uid: str, slots: str) -> DataStream:
    """A task of its own. Its rows are whole micro-batches: each is sent at once, and no thread looks after
    it."""
    return stream.uid(uid).disable_chaining().set_buffer_timeout(0).slot_sharing_group(slots)


if __name__ == "__main__":
    sys.exit(run(build, SpeculateSettings, sys.argv[1:], check_streams))
