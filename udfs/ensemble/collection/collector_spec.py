"""Everything the collector needs to know, as one value that travels with the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.codecs.factory import CodecSpec
from udfs.ensemble.collection.collecting import Collecting
from udfs.ensemble.collection.deciding import Decider
from udfs.ensemble.collection.tally import Tallies
from udfs.io.record_codecs import open_codec


@dataclass(frozen=True, slots=True)
class CollectorSpec:
    """`linger_ms`: how long after its deadline a decided batch waits for answers, to count who was late.

    `stats_ms` is how often statistics go out.
    """

    codec: CodecSpec = field(default_factory=CodecSpec)
    linger_ms: int = 10_000
    stats_ms: int = 5000

    def collecting(self, subtask: int) -> Collecting:
        """The state machine for one operator instance. Raises `CodecError`."""
        decider = Decider(open_codec(self.codec), raw_json=self.codec.raw_json)
        return Collecting(decider, Tallies(subtask), self.linger_ms)
