"""A model that scores, with the stamp it puts on its results."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from schemas.codecs.field_reading import Readings
from schemas.errors import PredictError
from schemas.tensors import Columns, Input, Output
from udfs.models.runtimes.base import Runtime


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """Who scored. `digest` (SHA-256, hex) is of the content that was loaded; `since` is in epoch ms.
    `signer`: the key that signed what was published; empty: nobody did, or nobody looked."""

    name: str
    version: int
    digest: str
    data_type: str
    model_type: str
    description: str
    since: int
    signer: str = ""


@dataclass(slots=True)
class LoadReport:
    """`seconds` a step, `size` of the content in bytes, and by batch size the median ms of one call.

    `notes`: sentences about the model for who publishes it. `rows`: the most records of one call, None: any.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    size: int = 0
    warm_up_ms: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: int | None = None


class LoadedModel:
    """A model that scores. It carries its own stamp, so that a result can only name who made it.

    `readings` declare how its inputs' fields are read."""

    def __init__(
        self,
        stamp: ModelStamp,
        runtime: Runtime,
        scratch: Path,
        report: LoadReport,
        readings: Readings = (),
    ) -> None:
        self.stamp = stamp
        self.readings = readings
        self.load_report = report
        self.inputs: tuple[Input, ...] = tuple(runtime.inputs)
        self.outputs: tuple[Output, ...] = tuple(runtime.outputs)
        self._runtime: Runtime | None = runtime
        self._scratch = scratch

    def predict(self, columns: Columns) -> Columns:
        """Columns `(n, *shape)` to columns `(n, *shape)`, from one thread at a time; or `PredictError`."""
        if self._runtime is None:
            raise PredictError(f"{self.stamp.name} version {self.stamp.version} is closed")
        rows, count = self.load_report.rows, len(next(iter(columns.values()), ()))
        if rows is None or count <= rows:
            return _answer(self._runtime, columns)
        parts = [
            _answer(self._runtime, {name: column[start : start + rows] for name, column in columns.items()})
            for start in range(0, count, rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """Give the runtime and the scratch folder back. Safe to call twice."""
        runtime, self._runtime = self._runtime, None
        try:
            if runtime is not None:
                runtime.close()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _answer(runtime: Runtime, columns: Columns) -> Columns:
    """Whatever a runtime raises is the model's failure, of the records at fault, and not that of the job."""
    try:
        return runtime.predict(columns)
    except PredictError:
        raise
    except Exception as e:
        raise PredictError(f"the model failed on the micro-batch: {type(e).__name__}: {e!s:.200}") from e
