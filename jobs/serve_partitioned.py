"""Partition-based serving: models go to every instance, records stay where they are read. Same settings as
`jobs/serve.py`."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment

from jobs.broker import check_streams
from jobs.running import run
from jobs.settings.serve import ServeSettings
from jobs.wiring import add_outputs, model_stream, record_stream, scored_stream
from operators.key_groups import key_groups


def build(env: StreamExecutionEnvironment, settings: ServeSettings) -> None:
    """Every instance has every model, and scores what it reads: a hot type is spread out."""
    groups = key_groups(env)
    records = record_stream(env, settings, groups)
    models = model_stream(env, settings)
    scored = scored_stream(env, settings, records, models.by_instance(groups, "score"), groups)
    add_outputs(scored, settings, [models.descriptors])


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
