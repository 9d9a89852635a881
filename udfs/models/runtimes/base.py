"""The one interface of a model runtime.

After SeldonIO/MLServer's `load` / `predict` / `unload`: a runtime does nothing else. Checking,
fetching, smoke test and warm-up stand apart, in `udfs.models.loading`, and are the same for every runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from schemas.errors import LoadError
from schemas.tensors import Columns, Input, Output


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model's content, fetched and checked for size and digest, not yet looked into.

    Exactly one of `data` (the bytes) and `path` (a file or a SavedModel folder) is set.
    `scratch` is an existing private folder which the runtime may use until `close`.
    """

    data: bytes | None
    path: Path | None
    scratch: Path

    def content(self, kind: str) -> bytes:
        """The bytes of a model that is one file. Raises `LoadError` where it is none; `kind` names it."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except OSError as e:
            raise LoadError(f"{kind} is one file: {e.strerror or e}") from e


@dataclass(frozen=True, slots=True)
class WantedSignature:
    """What the descriptor and the data type's settings say about inputs and outputs.

    `inputs`: as given by the descriptor (may lack dtype or shape: see `PartialInput`), or empty.
    `outputs`: model output name -> name in the result; empty: all outputs under their own names.
    `fields`: the data type's record fields in order, from the settings, used where neither the
    descriptor nor the model names the columns of a single k-wide input; may be empty.
    `deadline_ms`: after which a runtime that can ends a call itself; 0 for never. `training`: operators of
    training and gradients are taken. `pypmml`: so is PMML that only pypmml can score, by its own rows.
    `verification`: PMML without rows with results of its own is refused. `second_opinion`: PMML is compared
    with what pypmml says of it. `rows`: of a runtime's inputs, the columns of the rows given to try it with.
    """

    inputs: Sequence[PartialInput] = ()
    outputs: Sequence[tuple[str, str]] = ()
    fields: Sequence[str] = ()
    signature: str = ""
    deadline_ms: int = 0
    training: bool = False
    pypmml: bool = False
    verification: bool = False
    second_opinion: bool = False
    rows: Callable[[Sequence[Input]], Columns] | None = None


@dataclass(frozen=True, slots=True)
class PartialInput:
    """An input as a descriptor states it; None where it leaves a part to the model.

    `constant`: JSON of the value that each call is given, for an input that is not read from records; "":
    none. With `fields`, which give that value to each record, it is for a tensor that holds no records.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    fields: tuple[str, ...] = ()
    constant: str = ""


Range = tuple[float | None, float | None]
"""The least and the greatest value that a number takes; None: no bound."""


@runtime_checkable
class Runtime(Protocol):
    """A loaded model. Made by a runtime module's `load(artifact, wanted)`.

    `valid_values` (input name -> values) and `ranges` (input name -> `Range`), where a runtime has them,
    bound the rows that are made up to try the model with.

    `load` raises a `schemas.errors.ModelError`: `UnsafeModelError`, `ArchiveError`, `LoadError`,
    `InputsError` or `UnprovenModelError`.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def predict(self, columns: Columns) -> Columns:
        """Score n records: input columns `(n, *shape)` to output columns `(n, *shape)`.

        May be called from any one thread at a time. Raises `PredictError`.
        """
        ...

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        ...
