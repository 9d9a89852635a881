"""Partition-based serving: models go to every instance, records stay where they are read. Same settings as
`jobs/serve.py`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.running import run
from jobs.settings import ServeSettings
from jobs.wiring import add_outputs, block_stream, check_streams, model_stream
from operators.block_row import RESULTS
from operators.keyed_scorer import KeyedScorer
from operators.model_keys import keyed_models


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: ServeSettings) -> None:
    """Blocks are keyed by lane and data type, and every lane gets every model: a hot type is spread out."""
    blocks = block_stream(tables, settings, lanes=settings.lanes)
    models = keyed_models(model_stream(tables, settings), settings.lanes)
    scored = blocks.connect(models).process(KeyedScorer(settings.scoring(settings.lanes)), RESULTS)
    add_outputs(tables, scored.name("score").uid("score").disable_chaining(), settings)


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
