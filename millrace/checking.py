"""The local check that `publish` and `check-model` share: the very code that a job loads models with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.conversion import converted
from millrace.options import INLINE_LIMIT
from millrace.package import packed, type_of
from schemas.errors import SettingsError
from udfs.models.runtimes.base import PartialInput

if TYPE_CHECKING:
    from schemas.codecs.field_reading import Readings
    from schemas.tensors import Input, Output
    from udfs.models.descriptor import Publication
    from udfs.models.loaded_model import LoadedModel, LoadReport, ModelStamp
    from udfs.models.loading import LoadPolicy

_SLOW_TO_START = {"tensorflow": "TensorFlow", "onnxruntime": "ONNX Runtime", "py4j": "the JVM"}
"""Module -> what its first use starts."""
_LOADED_TWICE = 100 << 20
"""Bytes of content up to which a second load, to tell what was cold, costs little."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed: `publication` is how it was loaded here, `file` the one file it travels as.

    `files`: of a graph, those that its nodes travel as. `started`: what this process started for the load and
    a job starts once (a library, a JVM); then `warm` has the seconds of each step of a second load, without
    it.
    """

    publication: Publication
    file: Path
    stamp: ModelStamp
    report: LoadReport
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    started: tuple[str, ...] = ()
    warm: Mapping[str, float] = field(default_factory=dict)

    def stated_inputs(self) -> tuple[PartialInput, ...]:
        """The inputs in full, so that a job needs no settings to know their fields. A graph's stand in it."""
        if self.publication.graph is not None:
            return ()
        said = {p.name: p for p in self.publication.inputs}
        stated = []
        for i in self.inputs:
            shape = said[i.name].shape if i.name in said else None
            stated.append(PartialInput(i.name, i.dtype.value, shape or i.shape, i.fields))
        read = {i.name for i in self.inputs}
        return (*stated, *(p for name, p in said.items() if name not in read))


@dataclass(frozen=True, slots=True)
class Described:
    """A model as it would be published. `file` and `files` as of `Checked`; `policy`: how a job loads it."""

    publication: Publication
    file: Path
    policy: LoadPolicy
    files: Mapping[str, Path] = field(default_factory=dict)

    def load(self) -> LoadedModel:
        """Load the model as a job would. Raises the `ModelError` of the step that fails."""
        from udfs.models.loading import load_model  # noqa: PLC0415

        content = self.files.values() if self.publication.graph is not None else (self.file,)
        roots = tuple({str(path.parent) for path in content})
        return load_model(self.publication, replace(self.policy, roots=roots))


def check(path: Path, scratch: Path, **said: Any) -> Checked:
    """Load the model as a job would, and close it again: `described` says what can be `said` of it.

    Raises the `ModelError` of the step that fails.
    """
    made = described(path, scratch, **said)
    before = _running()
    model = made.load()
    model.close()
    started, warm = tuple(sorted(_running() - before)), {}
    report = model.load_report
    if started and report.size <= _LOADED_TWICE:
        again = made.load()
        again.close()
        warm = again.load_report.seconds
    publication = replace(made.publication, sha256=model.stamp.digest, size=report.size)
    return Checked(
        publication, made.file, model.stamp, report, model.inputs, model.outputs, made.files, started, warm
    )


def _running() -> set[str]:
    """What of that which is slow to start this process has."""
    return {name for module, name in _SLOW_TO_START.items() if module in sys.modules}


def described(
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
    smoke_rows: tuple[bytes, ...] = (),
    batch_dependent: bool = False,
    readings: Readings = (),
    training_operators: bool = False,
    pypmml: bool = False,
    require_verification: bool = False,
) -> Described:
    """The model at `path` as a job would hear of it, with its content packed in `scratch` where needed.

    Of a graph, `inputs` and `signature` stand in its file; `outputs` and `fields` replace those there. Raises
    `SettingsError`, `LoadError` or `DescriptorError`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from udfs.models.descriptor import build, parse  # noqa: PLC0415
    from udfs.models.loading import LoadPolicy  # noqa: PLC0415

    path = converted(path, scratch)
    said: dict[str, Any] = {
        "data_type": data_type,
        "name": name,
        "model_type": type_of(path, model_type),
        "smoke_rows": smoke_rows,
        "batch_dependent": batch_dependent,
        "readings": readings,
    }
    policy = LoadPolicy(
        fields=fields, training=training_operators, pypmml=pypmml, verification=require_verification
    )
    if said["model_type"] == "GRAPH":
        if inputs or signature:
            raise SettingsError("the inputs and signatures of a graph's nodes stand in its file")
        from millrace.graph_file import read_graph  # noqa: PLC0415

        read = read_graph(path, scratch, inline_limit)
        graph = replace(read.graph, fields=fields or read.graph.fields)
        descriptor = build(**said, graph=graph, outputs=outputs or read.outputs)
        return Described(parse(descriptor), path, replace(policy, fields=graph.fields), read.files)
    file = packed(path, scratch).resolve()
    small = file.stat().st_size <= inline_limit
    descriptor = build(
        **said,
        data=file.read_bytes() if small else None,
        location=None if small else file.as_uri(),
        inputs=inputs,
        outputs=outputs,
        signature=signature,
    )
    return Described(parse(descriptor), file, policy)
