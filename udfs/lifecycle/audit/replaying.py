"""A result scored again from what is stored, by the code that jobs score with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from schemas.codecs.base import Codec
from schemas.errors import MillraceError, ModelError
from schemas.micro_batch import MicroBatch
from schemas.results.records import Outcome
from schemas.results.results import Scored, read_result
from udfs.lifecycle.audit.differences import Difference, differences, last_bit_only
from udfs.lifecycle.audit.finding import Finder, Who
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.serving.scoring import score

_SIZES = (*range(2, 34), 48, 64, 96, 100, 128, 200, 256, 512, 1000, 1024)
"""Of micro-batches that are tried where numbers differ in their last bits."""
_LOADED_MOST = 8


class ReplayVerdict(StrEnum):
    """SAME: the same bits. LAST_BIT: numbers differ as they do between micro-batches of different sizes.
    DIFFERENT: it says how. NOT_REPLAYED: it says why."""

    SAME = "same"
    LAST_BIT = "last_bit"
    DIFFERENT = "different"
    NOT_REPLAYED = "not_replayed"


@dataclass(frozen=True, slots=True)
class Replayed:
    """`why`: one sentence, which is the same for what is of one kind, so that it can be counted."""

    verdict: ReplayVerdict
    why: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    found: tuple[Difference, ...] = ()


class Replayer:
    """Scores again with models that it finds, loads and keeps for a while.

    `load` raises `ModelError`. `codec` decodes records; without `raw_json` their JSON is the codec's.
    """

    def __init__(
        self, finder: Finder, load: Callable[[Publication], LoadedModel], codec: Codec, *, raw_json: bool
    ) -> None:
        self._finder, self._load, self._codec, self._raw_json = finder, load, codec, raw_json
        self._models: dict[Who, LoadedModel | str] = {}

    def model(self, who: Who) -> LoadedModel | str:
        """The model, or why there is none."""
        if who not in self._models:
            while len(self._models) >= _LOADED_MOST:
                oldest = self._models.pop(next(iter(self._models)))
                if isinstance(oldest, LoadedModel):
                    oldest.close()
            self._models[who] = self._found(who)
        return self._models[who]

    def replay(self, who: Who, record: bytes, codec: Codec | None, stored: Scored) -> Replayed:
        """The answer of `who` about a record against the stored one, of which place, outcome, scores and
        reason count. `codec`: of the record, where it is not the job's."""
        model = self.model(who)
        if isinstance(model, str):
            return Replayed(ReplayVerdict.NOT_REPLAYED, model)
        again = self._again(model, record, codec, stored, 1)[0]
        if isinstance(again, str):
            return Replayed(ReplayVerdict.DIFFERENT, f"it cannot be scored now: {again}")
        if again.outcome is not stored.outcome:
            why = f"it was {stored.outcome.value}, and is {again.outcome.value} now"
            return Replayed(ReplayVerdict.DIFFERENT, f"{why}: {again.reason or stored.reason}", again.scores)
        if again.outcome is Outcome.FAILED and again.reason != stored.reason:
            return Replayed(ReplayVerdict.DIFFERENT, f"it fails for another reason now: {again.reason}")
        found = tuple(differences(stored.scores, again.scores, model.outputs))
        if not found:
            return Replayed(ReplayVerdict.SAME, scores=again.scores)
        known, kinds = "", _types(found, model)
        if all(one.ulps is not None for one in found):
            if self._same_at_another_size(model, record, codec, stored):
                known = f"{kinds} differs as between sizes of micro-batches: another size gives the same bits"
            elif last_bit_only(found):
                known = f"{kinds} differs in the last bit, as between sizes of micro-batches"
        verdict = ReplayVerdict.LAST_BIT if known else ReplayVerdict.DIFFERENT
        return Replayed(verdict, known or "the scores differ", again.scores, found)

    def close(self) -> None:
        for model in self._models.values():
            if isinstance(model, LoadedModel):
                model.close()
        self._models.clear()

    def _found(self, who: Who) -> LoadedModel | str:
        try:
            said = self._finder.model(who)
            if said.batch_dependent:
                return "its model's answers may depend on the records beside it"
            model = self._load(said)
        except ModelError as e:
            return f"the model {who} cannot be loaded: {e.step}: {e}"
        except MillraceError as e:
            return f"the model {who} is not to be had: {e}"
        if not model.stamp.digest.startswith(who.digest):
            model.close()
            return f"what is stored as {who} has other content"
        return model

    def _same_at_another_size(
        self, model: LoadedModel, record: bytes, codec: Codec | None, stored: Scored
    ) -> bool:
        for size in _SIZES:
            # Where a record stands in its micro-batch may count too: the last rows are often added up apart.
            for other in self._again(model, record, codec, stored, size):
                if isinstance(other, Scored) and not differences(stored.scores, other.scores, model.outputs):
                    return True
        return False

    def _again(
        self, model: LoadedModel, record: bytes, codec: Codec | None, stored: Scored, size: int
    ) -> list[Scored | str]:
        """As a job would, in a micro-batch of so many copies, without repeats; or why it is a dead letter."""
        batch = MicroBatch(
            stored.data_type,
            stored.source,
            [record] * size,
            [stored.partition] * size,
            [stored.offset] * size,
            [stored.event_time] * size,
        )
        own = codec is not None
        done = score(batch, model, codec or self._codec, own or self._raw_json)
        return [read_result(line) for line in dict.fromkeys(done.lines)] or [done.dead[0].reason]


def _types(found: Sequence[Difference], model: LoadedModel) -> str:
    """The types of the outputs that differ."""
    names = {one.place.partition("[")[0] for one in found}
    return " and ".join(sorted({o.dtype.value for o in model.outputs if o.name in names})) or "a number"


def record_of(result: bytes) -> bytes:
    """The record that a result repeats: a JSON object. Raises `ValueError` for what is no result.

    Whitespace at the record's end, and a field `millrace` of its own, are not repeated.
    """
    mark, end = b'"millrace":', result.rstrip()
    if not end.endswith(b"}"):
        raise ValueError("not a result: it does not end as an object")
    at = end.find(mark)
    while at >= 0:
        # An object of this name inside the record, or inside of the stamp, leaves a rest that is no JSON.
        try:
            stamp = orjson.loads(end[at + len(mark) : -1])
        except orjson.JSONDecodeError:
            at = end.find(mark, at + 1)
            continue
        if isinstance(stamp, dict):
            return end[:at].rstrip().removesuffix(b",") + b"}"
        at = end.find(mark, at + 1)
    raise ValueError("not a result: it has no stamp")


def worst(verdicts: Sequence[ReplayVerdict]) -> ReplayVerdict:
    """Of several verdicts about one result; SAME for none."""
    order = (ReplayVerdict.DIFFERENT, ReplayVerdict.NOT_REPLAYED, ReplayVerdict.LAST_BIT)
    return next((v for v in order if v in verdicts), ReplayVerdict.SAME)
