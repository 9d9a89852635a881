"""Several models race for each record: `flink run -py jobs/speculate.py --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/speculate.py --folder.root DIR`. See docs/speculate.md."""

from __future__ import annotations

import sys

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.running import run
from jobs.settings.speculate import SpeculateSettings
from jobs.wiring import add_outputs, check_streams, direct_reading, model_stream, record_stream
from operators.block_row import RESULTS
from operators.ensemble.collector import Collector
from operators.ensemble.executor import ExecutorOperator
from operators.ensemble.kafka_router import KafkaRouter
from operators.ensemble.router import EXPECTATIONS, REQUESTS, RouterOperator
from operators.ensemble.speculation_rows import ANSWER, EXPECTATION, REQUEST
from operators.keyed_table import keyed_by_first
from operators.model_keys import keyed_models
from operators.side_outputs import side_output


def build(
    env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: SpeculateSettings
) -> None:
    """Router, an executor for each model type, collector."""
    models = keyed_models(model_stream(tables, settings), settings.lanes)
    spec = settings.router()
    direct = direct_reading(settings, settings.lanes, spec.tick_ms)
    records = record_stream(tables, settings, settings.lanes, direct)
    router = RouterOperator(spec) if direct is None else KafkaRouter(spec, direct)
    routed = records.connect(models).process(router, REQUEST)
    _alone(routed, "route", "default").name("route")
    executors = [_executor(routed, models, settings, name) for name in settings.executors.model_types]
    answers = keyed_by_first(executors[0].union(*executors[1:]), ANSWER)
    expectations = keyed_by_first(side_output(routed, EXPECTATIONS), EXPECTATION)
    decided = expectations.connect(answers).process(Collector(settings.collector()), RESULTS)
    _alone(decided, "collect", "default").name("collect")
    add_outputs(tables, decided, settings, [routed, *executors])


def _executor(
    routed: DataStream, models: KeyedStream, settings: SpeculateSettings, model_type: str
) -> DataStream:
    """The candidates of one model type, with threads, and if wanted slots, of their own."""
    own = settings.executors
    sent = routed if model_type == own.model_types[0] else side_output(routed, REQUESTS[model_type])
    requests = keyed_by_first(sent, REQUEST)
    answers = requests.connect(models).process(ExecutorOperator(settings.executor(model_type)), ANSWER)
    if own.parallelism is not None:
        answers.set_parallelism(own.parallelism)
    uid = f"execute-{model_type.lower()}"
    return _alone(answers, uid, "default" if own.slots == "shared" else uid).name(f"execute {model_type}")


def _alone(stream: DataStream, uid: str, slots: str) -> DataStream:
    """A task of its own. Its rows are whole blocks: each is sent at once, and no thread looks after it."""
    return stream.uid(uid).disable_chaining().set_buffer_timeout(0).slot_sharing_group(slots)


if __name__ == "__main__":
    sys.exit(run(build, SpeculateSettings, sys.argv[1:], check_streams))
