"""Everything a scoring operator needs to know, as one value that travels with the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.codecs.factory import CodecSpec, make_codec
from udfs.models.descriptor import Announcement
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.buffering import HoldPolicy
from udfs.serving.serving import Serving


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """`load`: by data type, with `default_load` for the others. `max_block` in records.

    `lanes`: keys are `LANE/DATA_TYPE` of so many lanes; 0: keys are data types. `tick_ms` is how often an
    operator looks up from its records: finished loads, overdue holds, statistics every `stats_ms`.
    """

    codec: CodecSpec = field(default_factory=CodecSpec)
    default_load: LoadPolicy = field(default_factory=LoadPolicy)
    load: Mapping[str, LoadPolicy] = field(default_factory=dict)
    hold: HoldPolicy = field(default_factory=HoldPolicy)
    max_block: int = 1024
    lanes: int = 0
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
            max_block=self.max_block,
            subtask=subtask,
        )
