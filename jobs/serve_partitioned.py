"""Partition-based serving: models go to every instance, records stay where they are read. Same settings as
`jobs/serve.py`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.running import run
from jobs.settings.serve import ServeSettings
from jobs.wiring import add_outputs, check_streams, model_stream, scored_stream
from operators.model_keys import keyed_models


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: ServeSettings) -> None:
    """Blocks are keyed by lane and data type, and every lane gets every model: a hot type is spread out."""
    models = keyed_models(model_stream(tables, settings), settings.lanes)
    add_outputs(tables, scored_stream(tables, settings, models, lanes=settings.lanes), settings)


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
