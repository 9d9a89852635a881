"""Partition-based serving: models go to every instance, records stay where they are read. Same settings as
`jobs/serve.py`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.settings import ServeSettings
from jobs.wiring import add_outputs, block_stream, model_stream, run
from operators.block_row import RESULTS
from operators.broadcast_scorer import MODEL_LOGS, BroadcastScorer


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: ServeSettings) -> None:
    """Models are broadcast; blocks are keyed by lane, so that a hot type is spread over the instances."""
    blocks = block_stream(tables, settings, by_lane=True)
    models = model_stream(tables, settings).broadcast(MODEL_LOGS)
    scored = blocks.connect(models).process(BroadcastScorer(settings.scoring()), RESULTS)
    add_outputs(tables, scored.name("score").uid("score").disable_chaining(), settings)


if __name__ == "__main__":
    sys.exit(run(build, sys.argv[1:]))
