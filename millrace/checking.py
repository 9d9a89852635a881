"""The local check that `publish` and `check-model` share: the very code that a job loads models with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.options import INLINE_LIMIT
from millrace.package import packed, type_of
from udfs.runtimes.base import PartialInput

if TYPE_CHECKING:
    from schemas.tensors import Input, Output
    from udfs.descriptor import Announcement
    from udfs.loaded_model import LoadReport, ModelStamp


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed: `announcement` is how it was loaded here, `file` the one file it travels as."""

    announcement: Announcement
    file: Path
    stamp: ModelStamp
    report: LoadReport
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def stated_inputs(self) -> tuple[PartialInput, ...]:
        """The inputs in full, so that a job needs no settings to know their fields."""
        return tuple(PartialInput(i.name, i.dtype.value, i.shape, i.fields) for i in self.inputs)


def check(
    path: Path,
    scratch: Path,
    *,
    data_type: str,
    name: str = "",
    model_type: str = "",
    fields: tuple[str, ...] = (),
    inputs: tuple[PartialInput, ...] = (),
    outputs: tuple[tuple[str, str], ...] = (),
    signature: str = "",
    inline_limit: int = INLINE_LIMIT,
) -> Checked:
    """Load the model as a job would, and close it again. Raises the `ModelError` of the step that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from udfs.descriptor import build, parse  # noqa: PLC0415
    from udfs.loading import LoadPolicy, load_model  # noqa: PLC0415

    file = packed(path, scratch).resolve()
    small = file.stat().st_size <= inline_limit
    announcement = parse(
        build(
            data_type=data_type,
            name=name,
            model_type=type_of(path, model_type),
            data=file.read_bytes() if small else None,
            location=None if small else file.as_uri(),
            inputs=inputs,
            outputs=outputs,
            signature=signature,
        )
    )
    model = load_model(announcement, LoadPolicy(roots=(str(file.parent),), fields=fields))
    model.close()
    announcement = replace(announcement, sha256=model.stamp.digest, size=model.load_report.size)
    return Checked(announcement, file, model.stamp, model.load_report, model.inputs, model.outputs)
