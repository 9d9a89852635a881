"""Key-based serving: `flink run -py jobs/serve.py --kafka.bootstrap HOST:PORT ...`, or without a cluster
`python jobs/serve.py --folder.root DIR`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.running import run
from jobs.settings.serve import ServeSettings
from jobs.wiring import add_outputs, check_streams, model_stream, scored_stream
from operators.model_keys import keyed_models


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: ServeSettings) -> None:
    """Blocks and models meet by data type; each type has one home."""
    models = keyed_models(model_stream(tables, settings))
    add_outputs(tables, scored_stream(tables, settings, models, lanes=0), settings)


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
