"""Bytes that say which version of their format they are of: messages, and what lies in state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from schemas.errors import MillraceError, StateError, StatisticsError


class _Stored(Protocol):
    version: int


class _Sent(Protocol):
    @property
    def format(self) -> int: ...


S = TypeVar("S", bound=_Stored)
M = TypeVar("M", bound=_Sent)
T = TypeVar("T")


def read_versioned(
    decode: Callable[[bytes], S],
    data: bytes,
    what: str,
    newest: int = 1,
    error: type[MillraceError] = StateError,
) -> S:
    """What `decode` makes of `data`. Raises `error` for other bytes, and for a version above `newest`.

    `what`: for the error's text, as in "these bytes are no ...".
    """
    found = decoded(decode, data, f"these bytes are no {what}", error)
    if found.version > newest:
        raise error(f"{what} of version {found.version}: this release reads up to {newest}: update")
    return found


def read_formatted(
    decode: Callable[[bytes], M],
    data: bytes,
    what: str,
    newest: int,
    error: type[MillraceError] = StatisticsError,
) -> M:
    """What `decode` makes of a message; fields that a newer writer added are passed over.

    Raises `error` where `data` is none, or of a format above `newest`. `what`: as in "this is no ...".
    """
    found = decoded(decode, data, f"this is no {what}", error)
    if found.format > newest:
        raise error(f"{what} of format {found.format}: this release reads up to {newest}: update")
    return found


def decoded(decode: Callable[[bytes], T], data: bytes, complaint: str, error: type[MillraceError]) -> T:
    """What `decode` makes of bytes without a version of their own. Raises `error` with `complaint`."""
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise error(f"{complaint}: {e}") from None
