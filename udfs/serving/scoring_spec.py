"""Everything a scoring operator needs to know, as one value that travels with the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.codecs.factory import CodecSpec, make_codec
from udfs.models.descriptor import Announcement
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.buffering import BufferPolicy
from udfs.serving.serving import Serving


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """`load`: by data type, with `default_load` for the others. `max_batch` in records.

    `tick_ms` is how often an operator looks up from its records: finished loads, records that have waited for
    too long, statistics every `stats_ms`.
    """

    codec: CodecSpec = field(default_factory=CodecSpec)
    default_load: LoadPolicy = field(default_factory=LoadPolicy)
    load: Mapping[str, LoadPolicy] = field(default_factory=dict)
    buffer: BufferPolicy = field(default_factory=BufferPolicy)
    max_batch: int = 1024
    tick_ms: int = 100
    stats_ms: int = 5000

    def load_model(self, announcement: Announcement) -> LoadedModel:
        return load_model(announcement, self.load.get(announcement.data_type, self.default_load))

    def serving(self, subtask: int) -> Serving:
        """The state machine for one operator instance. Raises `CodecError`."""
        return Serving(
            self.load_model,
            make_codec(self.codec),
            raw_json=self.codec.kind == "json",
            max_batch=self.max_batch,
            subtask=subtask,
        )
