"""What a codec does, and why a record may be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from schemas.codecs.field_reading import Readings
from schemas.tensors import BadRecord, Decoded, Input

R = TypeVar("R")


class Code(StrEnum):
    """Why a record could not become model input; `BadRecord.code` is one of these values."""

    UNPARSABLE = "unparsable"
    """It is empty, or not of the record format."""
    NOT_AN_OBJECT = "not_an_object"
    """It is JSON, but no object with fields."""
    MISSING_FIELD = "missing_field"
    """A field that an input reads is not there."""
    NULL = "null"
    """Such a field has no value."""
    WRONG_TYPE = "wrong_type"
    """Such a field has a value of another type."""
    NOT_FINITE = "not_finite"
    """Such a field is no finite number in the type of its input."""
    WRONG_SHAPE = "wrong_shape"
    """A list has another length or depth than its input."""
    TOO_LARGE = "too_large"
    """It has more bytes than `codec.max_bytes`."""
    TOO_DEEP = "too_deep"
    """It is nested too deeply to be read."""
    DELETED = "deleted"
    """It is a change event that leaves no row: a deletion, a truncation, an empty message."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """It names a schema that nobody knows, or that does not fit."""


class UnfitError(ValueError):
    """One record cannot become model input. Codecs catch it; it never leaves `decode`."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def at(self, row: int) -> BadRecord:
        return BadRecord(row, self.code.value, self.reason)


@runtime_checkable
class Codec(Protocol):
    """Decodes micro-batches. Holds no state of the stream; may be used by several threads."""

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        """Decode n payloads to `inputs`, each a column of shape `(good, *shape)`.

        `readings` declare how some of the fields are read; all others are the record's fields as they are.

        Never raises for what a payload holds: such a record is a `BadRecord`, its neighbours are decoded
        as if it were not there. `Decoded.count` is the number of good rows.
        """
        ...

    def to_json(self, payload: bytes) -> bytes | None:
        """The record as the bytes of one JSON object, or None where it is not one."""
        ...


@runtime_checkable
class Learning(Protocol):
    """A codec that asks somebody else how records are read."""

    def learn(self, payloads: Iterable[bytes]) -> None:
        """Ask about these records, so that to read them waits for nobody. Raises as whoever it asks."""
        ...


def learner(codec: Codec) -> Callable[[Iterable[bytes]], None]:
    """What waits for whatever reading records would wait for."""
    return codec.learn if isinstance(codec, Learning) else lambda payloads: None


def check_size(payload: bytes, limit: int) -> None:
    """Raise `UnfitError` for an empty payload and for one of more than `limit` bytes."""
    if not payload:
        # also for protobuf, where it would read as all defaults: a deleted key must not be scored
        raise UnfitError(Code.UNPARSABLE, "the payload is empty")
    if len(payload) > limit:
        raise UnfitError(Code.TOO_LARGE, f"the payload has {len(payload)} bytes, the bound is {limit}")


def parse_each(
    payloads: Sequence[bytes], parse: Callable[[bytes], R]
) -> tuple[list[R], list[int], list[BadRecord]]:
    """Parse record by record: what could be parsed, its rows, and the rest. `parse` raises `UnfitError`."""
    records: list[R] = []
    kept: list[int] = []
    bad: list[BadRecord] = []
    for row, payload in enumerate(payloads):
        try:
            records.append(parse(payload))
            kept.append(row)
        except UnfitError as e:
            bad.append(e.at(row))
    return records, kept, bad
