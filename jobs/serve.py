"""Key-based serving: `flink run -py jobs/serve.py --kafka.bootstrap HOST:PORT ...`, or without a cluster
`python jobs/serve.py --folder.root DIR`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment

from jobs.broker import check_streams
from jobs.running import run
from jobs.settings.serve import ServeSettings
from jobs.wiring import add_outputs, model_stream, record_stream, scored_stream


def build(env: StreamExecutionEnvironment, settings: ServeSettings) -> None:
    """Records and models meet by data type; each type has one home."""
    records, models = record_stream(env, settings, None), model_stream(env, settings)
    scored = scored_stream(env, settings, records, models.by_data_type(), None)
    add_outputs(scored, settings, [models.descriptors])


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
