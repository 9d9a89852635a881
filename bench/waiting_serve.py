"""The partition-based job with models that wait instead of computing, so that cores are not what bounds it.

Run as a job by `scripts/bench scale`; takes the settings of `jobs/serve_partitioned.py`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, fields
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment

from jobs.broker import check_streams
from jobs.running import run
from jobs.settings.serve import ServeSettings
from jobs.wiring import add_outputs, model_store, model_stream, record_stream
from operators.key_groups import key_groups
from operators.rows import OUTPUTS
from operators.serving.scorer import Scorer
from schemas.tensors import Columns
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import load_model
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.serving.scoring_spec import ScoringSpec

WAIT_S = 0.02


class Waiting:
    """A runtime whose calls take `WAIT_S` longer, in which the interpreter is free for others."""

    def __init__(self, artifact: Artifact, wanted: WantedSignature) -> None:
        from udfs.models.runtimes.tensorflow import saved_model  # noqa: PLC0415 - takes seconds

        self._runtime: Any = saved_model.load(artifact, wanted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def predict(self, columns: Columns) -> Columns:
        time.sleep(WAIT_S)
        answer: Columns = self._runtime.predict(columns)
        return answer


@dataclass(frozen=True, slots=True)
class WaitingSpec(ScoringSpec):
    """`ScoringSpec` whose models wait."""

    def load_model(self, publication: Publication) -> LoadedModel:
        return load_model(publication, self.default_load, {"TENSORFLOWSAVED": Waiting})


def build(env: StreamExecutionEnvironment, settings: ServeSettings) -> None:
    """As `jobs/serve_partitioned.py`."""
    groups = key_groups(env)
    usual = settings.scoring(model_store(env, settings))
    spec = WaitingSpec(**{field.name: getattr(usual, field.name) for field in fields(usual)})
    records, models = record_stream(env, settings, groups), model_stream(env, settings)
    scored = records.connect(models.by_instance(groups, "score")).process(Scorer(spec, groups), OUTPUTS)
    add_outputs(scored.name("score").uid("score").set_buffer_timeout(0).disable_chaining(), settings)


if __name__ == "__main__":
    sys.exit(run(build, ServeSettings, sys.argv[1:], check_streams))
