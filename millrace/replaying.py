"""Which dead letters can go through their job once more, and as what: the original record, or why not."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from schemas.micro_batch import Headers
from schemas.results.records import DeadLetter, decode

HEADER = "millrace-replayed"
"""Name of the header that a record sent back carries; its value is the identity of what it repeats."""

_INT, _LONG = 1 << 31, 1 << 63
"""Above what a broker counts partitions by, and offsets and times."""

_OF_ONE_VIEW = frozenset({"null_key", "step_failed"})
"""Codes of events that one view could not take."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; an empty list or None asks for nothing in particular.

    `since` and `until`: of the record's own time, in epoch milliseconds, the second of them left out.
    """

    codes: Container[str] = ()
    data_types: Container[str] = ()
    since: int | None = None
    until: int | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        if self.codes and letter.code not in self.codes:
            return False
        if self.data_types and letter.data_type not in self.data_types:
            return False
        if self.since is None and self.until is None:
            return True
        at = letter.event_time
        return at is not None and (self.since or 0) <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Original:
    """A record as it came in. `payload` None: it deleted its key. `event_time`: epoch milliseconds."""

    identity: str
    source: str
    partition: int
    payload: bytes | None
    key: bytes | None
    headers: Headers
    event_time: int | None


class Fate(StrEnum):
    """What becomes of a dead letter."""

    SENT = "sent"
    SENT_BEFORE = "sent before"
    IMPOSSIBLE = "cannot be sent"


@dataclass(frozen=True, slots=True)
class Judged:
    """`original` is what to send, None where it was sent before or cannot be, of which `reason` says why."""

    letter: DeadLetter
    fate: Fate
    original: Original | None = None
    reason: str = ""


class NotWholeError(Exception):
    """The dead letter does not hold the record."""


def identity_of(letter: DeadLetter) -> str:
    """Of the record that the letter is about: the same however often the letter was written."""
    return f"{letter.source}/{letter.partition}/{letter.offset}"


def original_of(letter: DeadLetter) -> Original:
    """The record of a letter. Raises `NotWholeError` where the letter holds a part of it only."""
    try:
        raw, key = _bytes(letter.raw), _bytes(letter.key)
        headers = tuple((name, _bytes(value)) for name, value in letter.headers)
    except (binascii.Error, ValueError, TypeError) as e:
        raise NotWholeError(f"it is not written as dead letters are: {e}") from None
    missing = [name for name in ("raw", "key", "headers") if name in letter.cut]
    if raw is not None and len(raw) != letter.size and "raw" not in missing:
        missing.insert(0, "raw")
    if missing:
        held = f"{len(raw or b''):,} of {letter.size:,} bytes" if "raw" in missing else "the record's bytes"
        beside = [name for name in missing if name != "raw"]
        lacks = f", and not all of its {' and '.join(beside)}" if beside else ""
        raise NotWholeError(f"it holds {held}{lacks}")
    identity = identity_of(letter)
    return Original(identity, letter.source, letter.partition, raw, key, headers, letter.event_time)


def judged(
    lines: Iterable[bytes],
    wanted: Wanted,
    sent_before: Container[str],
    whole: Callable[[DeadLetter], Original],
    to: Container[str] | None = None,
) -> Iterator[Judged]:
    """Each dead letter that is wanted, once a record, with what is to become of it.

    `whole` finds the record of a letter that holds a part of it, or raises `NotWholeError`. `to`: the sources
    that records may be sent to; None: whoever sends them knows. What is no dead letter is passed over.
    """
    seen: set[str] = set()
    for line in lines:
        try:
            letter = decode(DeadLetter, line)
        except ValueError:
            continue
        identity = identity_of(letter)
        if identity in seen or letter not in wanted:
            continue
        seen.add(identity)
        if identity in sent_before:
            yield Judged(letter, Fate.SENT_BEFORE)
            continue
        try:
            yield Judged(letter, Fate.SENT, _sendable(letter, whole, to))
        except NotWholeError as e:
            yield Judged(letter, Fate.IMPOSSIBLE, reason=str(e))


def _sendable(
    letter: DeadLetter, whole: Callable[[DeadLetter], Original], to: Container[str] | None
) -> Original:
    if letter.columns or letter.code in _OF_ONE_VIEW:
        raise NotWholeError("it is of one view, or of a file of history: others may have taken the event")
    known = 0 <= letter.partition < _INT and 0 <= letter.offset < _LONG
    if not known or "source" in letter.cut or {"\0", "\n"}.intersection(letter.source):
        raise NotWholeError("it does not say where its record came from")
    if letter.event_time is not None and not 0 <= letter.event_time < _LONG:
        raise NotWholeError("it says a time that no record has")
    if to is not None and letter.source not in to:
        said = f"nobody said that records may be sent to {letter.source[:249]!r}"
        raise NotWholeError(f"{said}: where it is a topic that the job reads records from, name it with --to")
    try:
        return original_of(letter)
    except NotWholeError as part:
        try:
            return whole(letter)
        except NotWholeError as e:
            raise NotWholeError(f"{part}; {e}") from None


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
