"""`python -m bench.records`: what it costs to read a record, by the shape of what a model reads of it.

Microseconds a record, the least of many rounds of up to 128 records and 64 kB (short enough that other work
on the machine does not get in between), beside `orjson.loads` of the same records alone. The last line
is JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from bench.report import say
from schemas.codecs.field_reading import FieldReading, Readings
from schemas.codecs.json_codec import JsonCodec
from schemas.tensors import DType, Input

_RECORDS = 128
_ROUND_BYTES = 64_000
_SECONDS = 1.5
_NAMES = tuple(f"field_{k}" for k in range(11))


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a record: `read` to columns, `parsed` by orjson alone. `bytes`: of a record."""

    name: str
    bytes: int
    read: float
    parsed: float


def main() -> int:
    rng = np.random.default_rng(7)
    costs = []
    for name, inputs, shapes, readings in _cases():
        payloads = [
            orjson.dumps({"id": n, **{f: rng.random(s).round(4).tolist() for f, s in shapes.items()}})
            for n in range(_RECORDS)
        ]
        payloads = payloads[: max(1, _ROUND_BYTES // len(payloads[0]))]
        codec = JsonCodec()
        decoded = codec.decode(payloads, inputs, readings)
        if decoded.bad or decoded.count != len(payloads):
            raise SystemExit(f"{name}: {decoded.bad[:1]}")
        read = 1 / len(payloads) * _least(lambda c=codec, p=payloads, i=inputs, r=readings: c.decode(p, i, r))  # type: ignore[misc]
        parsed = 1 / len(payloads) * _least(lambda p=payloads: [None for _ in map(orjson.loads, p)])  # type: ignore[misc]
        costs.append(Cost(name, len(payloads[0]), read, parsed))
        say(f"{name}: {read:.2f} us a record of {len(payloads[0]):,} bytes; orjson alone {parsed:.2f}")
    print(orjson.dumps({"records": [asdict(c) for c in costs]}).decode())
    return 0


def _cases() -> list[tuple[str, Sequence[Input], dict[str, tuple[int, ...]], Readings]]:
    flat: dict[str, tuple[int, ...]] = dict.fromkeys(_NAMES, ())

    def one(*shape: int) -> tuple[Sequence[Input], dict[str, tuple[int, ...]]]:
        return (Input("x", DType.FLOAT32, shape, ("x",)),), {"x": shape}

    defaults = tuple(FieldReading(name, (name,), default=0.0) for name in _NAMES)
    declared = "11 flat fields with declared defaults"
    return [
        ("11 flat fields", (Input("x", DType.FLOAT32, (11,), _NAMES),), flat, ()),
        (declared, (Input("x", DType.FLOAT32, (11,), _NAMES),), flat, defaults),
        ("11 flat inputs", [Input(n, DType.FLOAT64, (), (n,)) for n in _NAMES], flat, ()),
        ("list of 30", *one(30), ()),
        ("10x3", *one(10, 3), ()),
        ("25x15x3", *one(25, 15, 3), ()),
        (
            "10x3 beside 2 flat inputs",
            [
                Input("x", DType.FLOAT32, (10, 3), ("x",)),
                *(Input(n, DType.FLOAT32, (), (n,)) for n in "ab"),
            ],
            {"x": (10, 3), "a": (), "b": ()},
            (),
        ),
    ]


def _least(call: Callable[[], object]) -> float:
    """Microseconds of the fastest call."""
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best * 1e6


if __name__ == "__main__":
    sys.exit(main())
