"""`jobs/features.py` with stores that take every row and keep none: what the job does without them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import Sink
from pyflink.java_gateway import get_gateway

from jobs import features
from jobs.running import run
from jobs.settings.features import FeatureSettings, StoreSettings
from operators.features.feature_rows import HISTORY
from operators.side_outputs import side_output
from schemas.features.declarations import Declarations


def discard(
    env: StreamExecutionEnvironment,
    computed: Sequence[DataStream],
    declared: Declarations,
    settings: StoreSettings,
) -> None:
    """The rows are made, cross into the JVM in the batches that the stores would get, and end there."""
    nothing = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink
    for number, rows in enumerate((*computed, side_output(computed, HISTORY))):
        rows.sink_to(Sink(nothing())).name("nowhere").uid(f"nowhere-{number}")


if __name__ == "__main__":
    features.add_stores = discard
    sys.exit(run(features.build, FeatureSettings, sys.argv[1:], features.check))
