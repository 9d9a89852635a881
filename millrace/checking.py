"""The local check that `publish` and `check-model` share: the very code that a job loads models with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.options import INLINE_LIMIT
from millrace.package import packed, type_of
from schemas.errors import SettingsError
from udfs.models.runtimes.base import PartialInput

if TYPE_CHECKING:
    from schemas.tensors import Input, Output
    from udfs.models.descriptor import Announcement
    from udfs.models.loaded_model import LoadReport, ModelStamp


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed: `announcement` is how it was loaded here, `file` the one file it travels as.

    `files`: of a graph, those that its nodes travel as.
    """

    announcement: Announcement
    file: Path
    stamp: ModelStamp
    report: LoadReport
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    files: Mapping[str, Path] = field(default_factory=dict)

    def stated_inputs(self) -> tuple[PartialInput, ...]:
        """The inputs in full, so that a job needs no settings to know their fields. A graph's stand in it."""
        if self.announcement.graph is not None:
            return ()
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
    """Load the model as a job would, and close it again. Raises the `ModelError` of the step that fails.

    Of a graph, `inputs` and `signature` stand in its file; `outputs` and `fields` replace those there.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from udfs.models.descriptor import build, parse  # noqa: PLC0415

    kind = type_of(path, model_type)
    if kind == "GRAPH":
        if inputs or signature:
            raise SettingsError("the inputs and signatures of a graph's nodes stand in its file")
        return _check_graph(
            path,
            scratch,
            data_type=data_type,
            name=name,
            fields=fields,
            outputs=outputs,
            inline_limit=inline_limit,
        )
    file = packed(path, scratch).resolve()
    small = file.stat().st_size <= inline_limit
    announcement = parse(
        build(
            data_type=data_type,
            name=name,
            model_type=kind,
            data=file.read_bytes() if small else None,
            location=None if small else file.as_uri(),
            inputs=inputs,
            outputs=outputs,
            signature=signature,
        )
    )
    return _loaded(announcement, file, fields, (file,))


def _check_graph(
    path: Path,
    scratch: Path,
    *,
    data_type: str,
    name: str,
    fields: tuple[str, ...],
    outputs: tuple[tuple[str, str], ...],
    inline_limit: int,
) -> Checked:
    from millrace.graph_file import read_graph  # noqa: PLC0415
    from udfs.models.descriptor import build, parse  # noqa: PLC0415

    said = read_graph(path, scratch, inline_limit)
    graph = replace(said.graph, fields=fields or said.graph.fields)
    descriptor = build(
        data_type=data_type, name=name, model_type="GRAPH", graph=graph, outputs=outputs or said.outputs
    )
    checked = _loaded(parse(descriptor), path, graph.fields, said.files.values())
    return replace(checked, files=said.files)


def _loaded(
    announcement: Announcement, file: Path, fields: tuple[str, ...], content: Iterable[Path]
) -> Checked:
    from udfs.models.loading import LoadPolicy, load_model  # noqa: PLC0415

    roots = tuple({str(path.parent) for path in content})
    model = load_model(announcement, LoadPolicy(roots=roots, fields=fields))
    model.close()
    announcement = replace(announcement, sha256=model.stamp.digest, size=model.load_report.size)
    return Checked(announcement, file, model.stamp, model.load_report, model.inputs, model.outputs)
