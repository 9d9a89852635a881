"""The settings of `jobs/experiment.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.settings.gathering import Batching
from jobs.settings.models import VersionLimits
from jobs.settings.signing import SigningOwn
from jobs.settings.streams import Broker, StreamSettings, Transactions


class ExperimentKafka(Broker, Transactions):
    """Evidence on Kafka, and what follows from it."""

    start: Literal["earliest", "latest", "committed"] = Field(
        "earliest", description="where to begin in the evidence without a savepoint"
    )
    exactly_once: bool = Field(
        True, description="plans in transactions, visible at checkpoints: none is written twice"
    )
    evidence: str = Field("evidence", description="topic of evidence, from jobs/outcomes.py")
    models: str = Field("models", description="topic of model descriptors: orders in, plans out")
    experiments: str = Field("experiments", description="topic of what became of experiments")
    model_events: str = Field(
        "model-events", description="topic of what was published and is refused for its signature"
    )


class ExperimentSettings(StreamSettings):
    """Judge experiments, and put in force what follows. Give kafka, folder, or both."""

    name: str = Field("millrace-experiment", description="the job's name")
    checkpoint_seconds: float | None = Field(
        1, gt=0, description="plans appear at checkpoints; empty: as the cluster says"
    )
    kafka: ExperimentKafka | None = None
    batch: Batching = Field(Batching.model_validate({}), description="when a micro-batch is closed")
    registry: str = Field(
        "", repr=False, description="URL of the registry, whose alias follows a promotion; empty: none"
    )
    signing: SigningOwn = SigningOwn.model_validate({})
    models: VersionLimits = VersionLimits.model_validate({})
    stats_seconds: float = Field(5, gt=0, description="how often progress goes out")
