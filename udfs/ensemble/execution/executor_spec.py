"""Everything a model executor needs to know, as one value that travels with the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.execution.fault_injection import FaultInjection
from udfs.ensemble.execution.worker import CallLimits
from udfs.io.record_codecs import open_codec
from udfs.serving.scoring_spec import ScoringSpec


@dataclass(frozen=True, slots=True)
class ExecutorSpec:
    """`model_type`: whose candidates this executor serves. `faults`: a file's path, see `FaultInjection`."""

    model_type: str
    scoring: ScoringSpec = field(default_factory=ScoringSpec)
    limits: CallLimits = field(default_factory=CallLimits)
    faults: str | None = None

    def executor(self, subtask: int, restarted: bool = False) -> Executor:
        """The state machine for one operator instance. `restarted`: after a failure. Raises `CodecError`."""
        scoring = self.scoring
        codec, loader = open_codec(scoring.codec), scoring.loader(restarted)
        return Executor(
            self.model_type,
            loader.load,
            codec,
            max_batch=scoring.max_batch,
            subtask=subtask,
            limits=self.limits,
            faults=FaultInjection(self.faults),
            load_again=loader.load_again,
            quotas=scoring.quotas,
            bounds=scoring.bounds,
            closes=loader.close,
        )
