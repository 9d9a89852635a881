"""The error tree. Every error that Millrace raises on purpose descends from `MillraceError`.

A message says what was wrong, with what, and what to do about it. Errors about one record are not
raised: they travel as `BadRecord` values beside the good rows, because one bad record must not cost
its neighbours in the micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ArchiveError",
    "CodeError",
    "CodecError",
    "DescriptorError",
    "DigestError",
    "FeatureError",
    "FetchError",
    "GraphError",
    "InputsError",
    "LoadError",
    "LocationError",
    "MillraceError",
    "ModelError",
    "PlanError",
    "PredictError",
    "RegistryError",
    "SettingsError",
    "SmokeTestError",
    "SourceError",
    "StaleVersionError",
    "StoreError",
    "ThreadModeError",
    "UnprovenModelError",
    "UnsafeModelError",
]
"""What `millrace.errors` offers to users' own code."""


class MillraceError(Exception):
    """Root of the tree."""


class SettingsError(MillraceError):
    """A setting is missing, contradictory or names something that does not exist."""


class CodecError(MillraceError):
    """A codec cannot be built (unknown message type, unreadable schema)."""


class CodeError(MillraceError):
    """A process of the cluster holds other code than the job was submitted with."""


class ThreadModeError(MillraceError):
    """Python cannot run inside Flink's JVM on this machine: a shared library is missing."""


class SourceError(MillraceError):
    """A stream or a store cannot be reached, or is not what the settings say."""


class RefusedError(SourceError):
    """A server was reached, and says no. `status`: of HTTP; `code`: the server's own word for it, if any."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class FeatureError(MillraceError):
    """A declaration of features contradicts itself, or names what does not exist."""


class StoreError(MillraceError):
    """A feature store refuses what is written or asked, or holds what cannot be read."""


class StateError(MillraceError):
    """What an earlier run or another release left in state, or sent, cannot be read by this one."""


class RegistryError(MillraceError):
    """The feature registry does not know a name, or knows something else under it."""


class SchemaRegistryError(MillraceError):
    """The schema registry that records name was out of reach for as long as they may wait for it."""


class StatisticsError(MillraceError):
    """Statistics cannot be read, do not add up, or do not describe the same features."""


class ExperimentError(MillraceError):
    """The declaration of an experiment contradicts itself, or evidence does not belong to it."""


class ModelError(MillraceError):
    """A model was refused. `step` is the loading step that refused it."""

    step = "load"


class DescriptorError(ModelError):
    """The descriptor cannot be parsed or contradicts itself."""

    step = "descriptor"


class PlanError(ModelError):
    """A plan of speculative execution cannot be read, or contradicts itself."""

    step = "plan"


class GraphError(ModelError):
    """The nodes of a composed model do not fit together: a cycle, a missing input, an unknown node."""

    step = "graph"


class StaleVersionError(ModelError):
    """An older version, or other bytes under a version that is already served."""

    step = "version"


class VersionJumpError(ModelError):
    """A version so far above the newest that it would shut out whatever is published after it."""

    step = "version"


class LocationError(ModelError):
    """The location is outside the allowed roots or its scheme is not allowed."""

    step = "fetch"


class FetchError(ModelError):
    """The artifact could not be read from its location."""

    step = "fetch"


class DigestError(ModelError):
    """Size or SHA-256 digest differ from what the descriptor says."""

    step = "digest"


class ArchiveError(ModelError):
    """An archive is damaged, writes outside its folder, or unpacks beyond the bound."""

    step = "unpack"


class UnsafeModelError(ModelError):
    """The model could read, write, open or execute something."""

    step = "safety"


class UnprovenModelError(ModelError):
    """The model cannot be shown to be scored right by the evaluator at hand."""

    step = "safety"


class SandboxError(ModelError):
    """There is no process to check or keep a model in. That is not the model's fault."""

    step = "check"


class InconclusiveError(ModelError):
    """An attempt to load came to no outcome: the process that made it ended, hung or talked nonsense."""

    step = "check"


class ProcessEndedError(InconclusiveError):
    """The model ended the process that made the attempt to load it, and no limit and nobody else did."""


class QuotaError(ModelError):
    """A limit on the number or size of models, plans or data types is reached."""

    step = "quota"


class LoadError(ModelError):
    """The runtime could not load the artifact."""

    step = "load"


class InputsError(ModelError):
    """The model's inputs cannot be matched to record fields."""

    step = "inputs"


class SmokeTestError(ModelError):
    """A prediction of the smoke test failed, has the wrong shape, or is not finite."""

    step = "trial"


class PredictError(ModelError):
    """A loaded model failed while it scored a micro-batch. `rows`: the rows at fault with their reasons, if
    known; empty where any of them may be."""

    step = "predict"

    def __init__(self, message: str, rows: Mapping[int, str] | None = None) -> None:
        super().__init__(message)
        self.rows = dict(rows or {})


class UnresponsiveError(PredictError):
    """A call was given up, or the process that made it is gone. No record is known to be to blame.

    `counts`: whether it is one more call of the kind that a model is unpublished for.
    """

    def __init__(self, message: str, *, counts: bool = True) -> None:
        super().__init__(message)
        self.counts = counts
