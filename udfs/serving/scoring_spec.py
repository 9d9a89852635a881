"""Everything a scoring operator needs to know, as one value that travels with the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.codecs.factory import CodecSpec
from udfs.io.record_codecs import open_codec
from udfs.models.background_loader import LoadBounds
from udfs.models.loading import LoadPolicy
from udfs.models.quotas import Quotas
from udfs.models.sandbox.loader import Isolation, SandboxedLoader
from udfs.serving.buffering import BufferPolicy
from udfs.serving.serving import Serving


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """`load`: by data type, with `default_load` for the others. `max_batch` in records.

    `timer_ms`: how often an operator looks up from its records: finished loads, records that have waited for
    too long, statistics every `stats_ms`.
    """

    codec: CodecSpec = field(default_factory=CodecSpec)
    default_load: LoadPolicy = field(default_factory=LoadPolicy)
    load: Mapping[str, LoadPolicy] = field(default_factory=dict)
    buffer: BufferPolicy = field(default_factory=BufferPolicy)
    max_batch: int = 1024
    quotas: Quotas = field(default_factory=Quotas)
    isolation: Isolation = field(default_factory=Isolation)
    bounds: LoadBounds = field(default_factory=lambda: LoadBounds(threads=2))
    timer_ms: int = 100
    stats_ms: int = 5000

    def policy(self, data_type: str) -> LoadPolicy:
        """By which models of a data type are loaded."""
        policy = self.load.get(data_type, self.default_load)
        return replace(policy, deadline_ms=int(self.quotas.call_seconds * 1000))

    def loader(self, restarted: bool = False) -> SandboxedLoader:
        """What loads models for one operator instance, which closes it. `restarted`: after a failure."""
        return SandboxedLoader(self.policy, self.isolation, self.quotas.call_seconds, restarted)

    def serving(self, subtask: int, restarted: bool = False) -> Serving:
        """The state machine for one operator instance. `restarted`: after a failure. Raises `CodecError`."""
        codec, loader = open_codec(self.codec), self.loader(restarted)
        return Serving(
            loader.load,
            codec,
            raw_json=self.codec.raw_json,
            max_batch=self.max_batch,
            subtask=subtask,
            load_again=loader.load_again,
            quotas=self.quotas,
            bounds=self.bounds,
            closes=loader.close,
        )
