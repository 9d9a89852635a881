"""Records that hurt: by size, depth, numbers, clocks and headers."""

from __future__ import annotations

from collections.abc import Iterator

from faults.inputs import TRIGGER, HostileRecord

_GO_ZERO_MS = -62_135_596_800_000


def hostile() -> Iterator[HostileRecord]:
    """Each is scored, failed or a dead letter, and no other record is touched by it."""
    good = b'{"x": [1.0, 2.0], "a": 1.0, "t": "a"}'
    yield HostileRecord("no text", b"\xff\xfe\x00")
    yield HostileRecord("empty", b"")
    yield HostileRecord("deletion", None, b"key")
    yield HostileRecord("cut", good[:-4])
    yield HostileRecord("a list", b"[1, 2]")
    yield HostileRecord("deep", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield HostileRecord("many digits", b'{"x": [1' + b"0" * 200_000 + b", 2]}")
    yield HostileRecord("beyond a double", b'{"x": [1e400, 2], "a": 1}')
    yield HostileRecord("not a number", b'{"x": [NaN, Infinity], "a": -Infinity}')
    yield HostileRecord("key twice", b'{"x": [1, 2], "x": "x", "a": 1, "a": null}')
    yield HostileRecord("long header", b"not json", None, [("h", b"v" * 800_000)])
    yield HostileRecord("long key", b"x" * 700_000, b"k" * 100_000)
    yield HostileRecord("nearly a message", b'{"x": [1, 2], "a": 1, "t": "' + b"t" * 1_040_000 + b'"}')
    yield HostileRecord("many headers", good, None, [("h", None)] * 20_000)
    yield HostileRecord("its own stamp", b'{"x": [1, 2], "a": 1, "t": "", "millrace": {"outcome": "scored"}}')
    for time in (1, _GO_ZERO_MS, 1_790_000_000_000_000, 253_402_300_800_000):
        yield HostileRecord(f"time {time}", good, time=time)
    trigger = b'{"x": [%d, 2], "a": %d, "t": "%s!"}' % (TRIGGER, TRIGGER, b"a" * 5000)
    yield HostileRecord("what models hang at", trigger)
