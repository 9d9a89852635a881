"""Inputs that hurt: descriptors of models and plans, and records, each of a kind of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from udfs.models.descriptor import DECIDE, build

EVIL = "evil"
"""The data type that the inputs are for. Good records are of another."""
TRIGGER = 1000.0
"""The value at which a model that hangs later does so; records of EVIL with it are sent after each model."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message for the topic of models. `kernels`: what it does later is inside one operator, where
    nothing stops it but a process of its own."""

    name: str
    descriptor: bytes
    kernels: bool = False


@dataclass(frozen=True, slots=True)
class HostileRecord:
    """One record of EVIL. `time`: epoch milliseconds, None: now."""

    name: str
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    time: int | None = None


def model(name: str, data: bytes, model_type: str = "TENSORFLOW", version: int = 1) -> Hostile:
    """A model of EVIL under a name of its own."""
    return Hostile(name, build(data_type=EVIL, name=name, model_type=model_type, version=version, data=data))


def plan(name: str, text: str) -> Hostile:
    """A plan of EVIL that is not looked at before it is sent."""
    from schemas.model_pb2 import ModelDescriptor  # noqa: PLC0415

    decide = ModelDescriptor.Operation.Value(DECIDE)
    message = ModelDescriptor(name="plan", dataType=EVIL, operation=decide, plan=text, force=True)
    return Hostile(name, message.SerializeToString())


def ours(folder: Path) -> Iterator[Hostile]:
    """All kinds that the project knows, made here; `folder` is for files that their making needs."""
    from faults import archives, descriptors, documents, graphs, onnx_documents, plans  # noqa: PLC0415

    yield from graphs.hostile(folder)
    yield from documents.hostile()
    yield from onnx_documents.hostile()
    yield from archives.hostile()
    yield from descriptors.hostile()
    yield from plans.hostile()


_TYPES = {
    ".pb": "TENSORFLOW",
    ".pmml": "PMML",
    ".onnx": "ONNX",
    ".zip": "TENSORFLOWSAVED",
    ".tar": "TENSORFLOWSAVED",
}


def of_folder(folder: Path) -> Iterator[Hostile]:
    """The models and plans (.json) among the files of a folder, by their endings."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            yield plan(f"{folder.name}/{path.name}", path.read_text())
        elif path.suffix in _TYPES:
            yield model(f"{folder.name}/{path.name}", path.read_bytes(), _TYPES[path.suffix])
