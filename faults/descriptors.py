"""Descriptors that are none, say what is not so, or ask for what is not theirs."""

from __future__ import annotations

from collections.abc import Iterator

from faults.inputs import EVIL, Hostile
from schemas.model_pb2 import ModelDescriptor


def hostile() -> Iterator[Hostile]:
    def saying(label: str, /, **fields: object) -> Hostile:
        return Hostile(label, ModelDescriptor(**{"dataType": EVIL, **fields}).SerializeToString())  # type: ignore[arg-type]

    yield Hostile("no descriptor", b"\xff" * 300)
    yield Hostile("empty message", b"")
    yield saying("name of control characters", name="\x01" * 250_000, data=b"x")
    yield saying("reason of control characters", name="n", location="s3://" + "\x02" * 100_000)
    yield saying("data type nobody named", dataType="strange-" + "t" * 200, data=b"x")
    yield saying("file of the machine", location="file:///etc/passwd")
    yield saying("file above the roots", location="file:///tmp/../etc/passwd")
    yield saying("digest of another content", data=b"x", sha256="0" * 64, size=1)
    yield saying("size of another content", data=b"x", size=1 << 40)
    yield saying("time before time", data=b"x", created_ms=-5)
    yield saying("version beyond all", data=b"x", version=(1 << 63) + 5)
    yield saying("metrics that are none", data=b"x", metrics={"a": float("nan")})
    yield saying("smoke rows that are none", data=b"x", smoke_rows=[b"[" * 50_000])
    yield saying("graph without nodes", modeltype=ModelDescriptor.GRAPH)
