"""Quality by window and by what is compared: model version, arm, candidate, plan, slice."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from schemas.errors import StatisticsError
from schemas.lifecycle.quality import Kind
from udfs.lifecycle.quality.classification import BINS, ClassificationSums
from udfs.lifecycle.quality.labels import LabelSums
from udfs.lifecycle.quality.many_classes import ManyClassesSums
from udfs.lifecycle.quality.regression import RegressionSums

VERSION = 1
QualitySums = ClassificationSums | ManyClassesSums | LabelSums | RegressionSums
KINDS: dict[Kind, type[QualitySums]] = {
    "classes": ClassificationSums,
    "multiclass": ManyClassesSums,
    "labels": LabelSums,
    "numbers": RegressionSums,
}


class QualityKey(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What sums are of. Empty parts are not told apart; `window`: its start, event time in ms, -1 for all."""

    window: int = -1
    model: str = ""
    version: int = 0
    arm: str = ""
    candidate: str = ""
    plan: str = ""
    plan_version: int = 0
    experiment: str = ""
    data_type: str = ""
    slices: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.slices) > 3:
            raise StatisticsError(f"quality is told apart by up to three slices, not {len(self.slices)}")


class Quality(msgspec.Struct):
    """Sums by key, all of one kind. Parts of several instances or windows add up."""

    sums: dict[QualityKey, QualitySums] = msgspec.field(default_factory=dict)

    def at(self, key: QualityKey, kind: type[QualitySums]) -> QualitySums:
        """The sums of a key, new ones of `kind` where there are none."""
        return self.sums.setdefault(key, kind())

    def merge(self, other: Quality) -> None:
        """Take in other sums. Raises `StatisticsError` where a key's are of another kind."""
        for key, theirs in other.sums.items():
            ours = self.sums.get(key)
            if ours is None:
                self.sums[key] = read_sums(write_sums(theirs))
            elif type(ours) is not type(theirs):
                kinds = f"{kind_of(ours)} in one part, of {kind_of(theirs)} in another"
                raise StatisticsError(f"the sums of {key} are of {kinds}")
            else:
                ours.merge(theirs)  # type: ignore[arg-type]


class _Kept(msgspec.Struct, array_like=True):
    version: int
    kind: str
    sums: msgspec.Raw


def kind_of(sums: QualitySums) -> Kind:
    """The kind as messages and state name it."""
    return next(name for name, kind in KINDS.items() if type(sums) is kind)


def add_up(one: QualitySums, other: QualitySums) -> bool:
    """Whether both were counted under the same settings: of one kind, threshold, and classes."""
    if type(one) is not type(other):
        return False
    return all(getattr(one, name) == getattr(other, name) for name in one.TERMS)


def write_sums(sums: QualitySums) -> bytes:
    """Msgpack with its version, for state."""
    fields = {name: getattr(sums, name) for name in sums.__struct_fields__}
    if not sums.rests:  # as they were written before there were any
        del fields["rests"]
    inside = msgspec.msgpack.encode(fields, enc_hook=_plain)
    return msgspec.msgpack.encode(_Kept(VERSION, kind_of(sums), msgspec.Raw(inside)))


def read_sums(data: bytes) -> QualitySums:
    """What `write_sums` wrote. Raises `StatisticsError` for other bytes and for a newer version."""
    try:
        kept = _KEPT_DECODER.decode(data)
        if kept.version > VERSION or kept.kind not in KINDS:
            raise StatisticsError(f"sums {kept.kind!r} of version {kept.version} cannot be read: update")
        sums = _SUMS_DECODERS[kept.kind].decode(kept.sums)
        if isinstance(sums, ClassificationSums) and any(of.size != BINS for of in sums.arrays):
            raise ValueError(f"there are {BINS} bins")
        return sums
    except (msgspec.MsgspecError, ValueError, TypeError) as e:
        raise StatisticsError(f"these are no sums of quality: {e}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.tobytes()]
    raise TypeError(f"{type(value).__name__} cannot be written")


def _array(kind: type, value: Any) -> Any:
    dtype, data = msgspec.convert(value, tuple[str, bytes])
    if kind is not np.ndarray or dtype not in ("<i8", "<f8") or len(data) % 8:
        raise ValueError(f"{dtype} is no array of sums")
    return np.frombuffer(data, dtype).copy()


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_KEPT_DECODER = msgspec.msgpack.Decoder(_Kept)
_SUMS_DECODERS = {kind: msgspec.msgpack.Decoder(of, dec_hook=_array) for kind, of in KINDS.items()}
