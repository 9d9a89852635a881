"""The settings of the jobs that score."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from jobs.settings.gathering import Batching
from jobs.settings.models import ModelLimits
from jobs.settings.run import Part
from jobs.settings.signing import Signing
from jobs.settings.streams import DataType, Kafka, StreamSettings
from schemas.codecs.factory import CodecSpec
from udfs.ensemble.routing.arms import Sharing
from udfs.io.gathering import Gathering
from udfs.io.s3 import S3Options
from udfs.models.loading import LoadPolicy
from udfs.models.model_store import StoreSpec
from udfs.models.quotas import Quotas
from udfs.models.warm_up import Budget
from udfs.serving.buffering import BufferPolicy
from udfs.serving.scoring_spec import ScoringSpec


class JobSettings(StreamSettings):
    """What all scoring jobs share."""

    kafka: Kafka | None = None
    codec: CodecSpec = Field(CodecSpec(), description="how records are encoded")
    data_types: dict[str, DataType] = Field({}, description="what is known of the types, by name")
    batch: Batching = Field(Batching.model_validate({}), description="when a micro-batch is closed")
    max_batch: int = Field(1024, ge=1, description="the most records that a model scores in one call")
    buffer: BufferPolicy = Field(
        BufferPolicy(), description="bounds for records that come before their model"
    )
    model_store: str = Field(
        "",
        description="folder or s3://BUCKET/PREFIX where models lie by content; empty: beside the checkpoints",
    )
    models: ModelLimits = ModelLimits.model_validate({})
    signing: Signing = Signing.model_validate({})
    model_roots: tuple[str, ...] = Field((), description="where descriptors' locations may point")
    s3: S3Options = S3Options()
    stats_seconds: float = Field(5, gt=0, description="how often statistics go out")

    @model_validator(mode="after")
    def _one_kind_of_stream(self) -> Self:
        if self.kafka is not None and self.reads_kafka and not self.kafka.records:
            raise ValueError("kafka.records is empty: name at least one topic and its data type")
        if self.kafka is not None:
            self.kafka.check_own(self.name, type(self).model_fields["name"].default)
        return self

    @property
    def gathering(self) -> Gathering:
        return self.batch.gathering(self.mode)

    def quotas(self) -> Quotas:
        """What one data type may ask for, and which data types there may be."""
        kafka = self.kafka if self.reads_kafka else None
        named = {*self.data_types, *(kafka.records.values() if kafka is not None else ())}
        return self.models.quotas(named, kafka is None or bool(kafka.data_type_header))

    def scoring(self, store: StoreSpec) -> ScoringSpec:
        """What the scoring operator needs. `store`: where published models lie."""

        def policy(data_type: DataType) -> LoadPolicy:
            return LoadPolicy(
                roots=(*self.model_roots, *store.roots),
                fields=data_type.fields,
                warm_up_batches=data_type.warm_up_batches,
                warm_up=Budget(data_type.warm_up_seconds, data_type.warm_up_bytes),
                training=data_type.training_operators,
                pypmml=data_type.pypmml,
                verification=data_type.require_verification,
                second_opinion=data_type.second_opinion,
                s3=self.s3,
            )

        return ScoringSpec(
            codec=self.codec,
            default_load=policy(DataType.model_validate({})),
            load={name: policy(known) for name, known in self.data_types.items()},
            buffer=self.buffer,
            quotas=self.quotas(),
            isolation=self.models.where(),
            max_batch=self.max_batch,
            stats_ms=int(self.stats_seconds * 1000),
        )


class SharedType(Part):
    """A data type that several jobs share: each serves one model, and scores the arms that ask for it."""

    model: str = Field(min_length=1, description="name of the only model of the type that this job serves")
    undivided: bool = Field(
        False,
        description="score what no plan of an experiment divides; of all jobs that share the type, one does",
    )


class ServeSettings(JobSettings):
    """Score records with models that change while the job runs. Give kafka, folder, or both."""

    name: str = Field("millrace-serve", description="the job's name")
    sharing: dict[str, SharedType] = Field(
        {}, description="data types of which other jobs score a part, by the arms of an experiment"
    )

    def shared(self) -> dict[str, Sharing]:
        """How the operator is told of them."""
        return {name: Sharing(one.model, one.undivided) for name, one in self.sharing.items()}
