"""Which range an IP address is in, where the ranges come from a reference that changes.

A temporal join needs equal keys, so the reference is keyed by bucket: the first 16 bits of an IPv4, the first
32 of an IPv6 address. Its row lists the bucket's ranges as text, `FIRST-LAST=LABEL;...`; a range over several
buckets is listed in each. Declared as three steps: `bucket`, an `Enrichment` on it, `label`.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from ipaddress import ip_address

import pyarrow as pa


def bucket(addresses: pa.Array) -> pa.Array:
    """Of n addresses (strings): the bucket's name, as `4/192.168` or `6/2001:0db8`; null for what is no
    address."""
    return _each(_bucket, addresses)


def label(addresses: pa.Array, ranges: pa.Array) -> pa.Array:
    """Of n addresses and the ranges of their buckets: the label of the range that holds each; null for none.
    Where ranges overlap, the one that begins last counts."""
    return _each(_label, addresses, ranges)


def _each(of: object, *columns: pa.Array) -> pa.Array:
    lists = [column.to_pylist() for column in columns]
    return pa.array(
        [None if None in row else of(*row) for row in zip(*lists, strict=True)],  # type: ignore[operator]
        pa.string(),
    )


@lru_cache(maxsize=65536)
def _number(text: str) -> tuple[int, int] | None:
    """Version and number."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return address.version, int(address)


def _bucket(text: str) -> str | None:
    found = _number(text)
    if found is None:
        return None
    version, number = found
    if version == 4:
        return f"4/{number >> 24}.{number >> 16 & 255}"
    return f"6/{number >> 112:04x}:{number >> 96 & 0xFFFF:04x}"


@lru_cache(maxsize=4096)
def _parse(ranges: str) -> tuple[list[tuple[int, int]], list[tuple[tuple[int, int], str]]]:
    """Begins, ascending, and of each its end and label. What cannot be read is left out."""
    found = []
    for part in ranges.split(";"):
        span, _, name = part.partition("=")
        first, _, last = span.partition("-")
        begin, end = _number(first), _number(last or first)
        if begin is not None and end is not None and name:
            found.append((begin, end, name))
    found.sort()
    return [b for b, _, _ in found], [(e, n) for _, e, n in found]


def _label(text: str, ranges: str) -> str | None:
    number = _number(text)
    if number is None:
        return None
    begins, rest = _parse(ranges)
    for end, name in reversed(rest[: bisect_right(begins, number)]):
        if number <= end:
            return name
    return None
