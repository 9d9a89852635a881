"""Models and loads without a runtime, for tests of the serving core."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from schemas.errors import LoadError, PredictError
from schemas.micro_batch import MicroBatch
from schemas.tensors import Columns, DType, Input, Output
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel, LoadReport, ModelStamp

POISON = 13.0
NOT_FINITE = 17.0
STICKS = 19.0


class Doubling:
    """Answers `y = 2 a + add`. A batch with `POISON` in it raises; `NOT_FINITE` becomes NaN; one with
    `STICKS` comes back when `sticks` is set, where that is given."""

    inputs = (Input("x", DType.FLOAT64, (), ("a",)),)
    outputs = (Output("y", DType.FLOAT64),)

    def __init__(self, add: float = 0.0, sticks: threading.Event | None = None) -> None:
        self.add, self.sticks = add, sticks
        self.closed = 0
        self.batches: list[int] = []

    def predict(self, columns: Columns) -> Columns:
        x = columns["x"]
        self.batches.append(len(x))
        if self.sticks is not None and (x == STICKS).any():
            self.sticks.wait()
        if (x == POISON).any():
            raise PredictError("the model cannot score 13")
        return {"y": np.where(x == NOT_FINITE, np.nan, 2 * x + self.add)}

    def close(self) -> None:
        self.closed += 1


def loaded_model(
    runtime: Doubling,
    name: str = "n",
    version: int = 1,
    digest: str = "d" * 64,
    data_type: str = "t",
    *,
    signer: str = "",
) -> LoadedModel:
    stamp = ModelStamp(name, version, digest, data_type, "PMML", "doubles", 0, signer=signer)
    return LoadedModel(stamp, runtime, Path("/nonexistent/scratch"), LoadReport())


class Loads:
    """A `load` whose outcome the content decides: `bad...` fails, `slow...` waits for `let_go`. Models get
    `sticks`.

    Models add their version to the score, so that the score says which model made it.
    """

    def __init__(self, sticks: threading.Event | None = None) -> None:
        self.sticks = sticks
        self.runtimes: dict[tuple[str, int], Doubling] = {}
        self.calls: list[tuple[str, int]] = []
        self.started = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, published: Publication) -> LoadedModel:
        self.calls.append((published.name, published.version))
        content = published.data or b""
        if content.startswith(b"slow"):
            self.started.set()
            assert self.let_go.wait(30)
        if b"bad" in content:
            raise LoadError("it cannot be loaded")
        if b"odd" in content:
            raise KeyError("an error that no one foresaw")
        runtime = self.runtimes[published.name, published.version] = Doubling(published.version, self.sticks)
        return loaded_model(runtime, published.name, published.version, published.sha256, published.data_type)


def batch_of(payloads: list[bytes], data_type: str = "t", start: int = 0, **more) -> MicroBatch:  # type: ignore[no-untyped-def]
    n = len(payloads)
    more = {"event_times": [5] * n} | more
    return MicroBatch(
        data_type, "topic", payloads, partitions=[0] * n, offsets=list(range(start, start + n)), **more
    )
