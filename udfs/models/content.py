"""From the content of a model that is here to a runtime that has proved that it can score.

These are the steps that a process which may die goes through first, and the loading process after it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from schemas.codecs.field_reading import Readings
from schemas.codecs.reading_plan import check_readings, read_fields
from schemas.errors import (
    DescriptorError,
    InputsError,
    LoadError,
    PredictError,
    SmokeTestError,
    UnresponsiveError,
)
from schemas.tensors import Columns
from udfs.models import company, smoke_test
from udfs.models.composite.loading import fetch_nodes, load_graph
from udfs.models.descriptor import Publication
from udfs.models.descriptor_parts import check_name
from udfs.models.digest import Digest
from udfs.models.load_steps import Load, LoadSteps
from udfs.models.runtimes.base import Artifact, Runtime
from udfs.models.runtimes.catalogue import RUNTIMES
from udfs.models.warm_up import warm_up

_SMOKE_BATCHES = (1, 3)
_LOOKED_THROUGH = 16  # made-up rows, for such as differ: whole numbers among them are 0 or 1
_WORDS = 4  # of made-up texts that stand beside others
_MADE_UP = (
    "for made-up rows: --smoke gives records of the stream instead, ranges in --inputs bound what is made up"
)


@dataclass(frozen=True, slots=True)
class Content:
    """A model's content, fetched and identified: an artifact, or of a graph of models one a node, by name."""

    artifacts: Mapping[str, Artifact]
    digest: Digest


def fetch_content(publication: Publication, steps: LoadSteps, scratch: Path) -> Content:
    """Everything that the model is made of. Raises the `ModelError` of the step that failed."""
    if publication.graph is not None:
        return Content(*fetch_nodes(publication, steps, scratch))
    artifact, digest = steps.fetch(publication, scratch)
    return Content({"": artifact}, digest)


def build(publication: Publication, steps: LoadSteps, content: Content) -> Runtime:
    """Load what was fetched. Raises the `ModelError` of the step that failed."""
    if publication.graph is not None:
        return load_graph(publication, steps, content.artifacts)
    with steps.step("load"):
        wanted = publication.wanted(steps.policy.fields)
        if publication.smoke_rows:
            rows, readings = publication.smoke_rows, publication.readings
            wanted = replace(wanted, rows=partial(smoke_test.smoke_columns, rows=rows, readings=readings))
        return steps.load(publication.model_type, content.artifacts[""], wanted)


def prove(publication: Publication, runtime: Runtime, steps: LoadSteps) -> None:
    """Let the runtime show that it scores, and warm it up. Raises the `ModelError` of the step that
    failed."""
    policy, report = steps.policy, steps.report
    with steps.step("load"):
        _check_names(runtime)
        constants = publication.constants()
        given = {p.fields[0] for p in publication.inputs if p.name in constants}
        check_readings(runtime.inputs, publication.readings, given)
        _check_fields(runtime, policy.fields, publication.readings)
    with steps.step("trial"):
        rows = _Rows(runtime, publication)
        try:
            for count in sorted({*_SMOKE_BATCHES, rows.given}):
                _call(runtime, rows.columns(count))
        except UnresponsiveError:
            raise
        except (PredictError, SmokeTestError) as e:
            if publication.smoke_rows:
                raise
            raise SmokeTestError(f"{e} ({_MADE_UP})") from e
        asked = rows.company()
        found = company.differences(runtime.predict, asked, runtime.outputs)
        company.check_meant(found, publication.batch_dependent)
        report.notes += [*found, *rows.notes]
    with steps.step("warm-up"):
        warmed = warm_up(partial(_call, runtime), rows.tried, policy.warm_up_batches, policy.warm_up)
        report.warm_up_ms, report.rows = warmed.ms, warmed.rows
        report.notes += [warmed.note] if warmed.note else []
    if found or (report.rows is not None and report.rows < company.CROWD):
        return
    with steps.step("trial"):
        found = company.in_a_crowd(runtime.predict, asked, rows.others(), runtime.outputs)
        company.check_meant(found, publication.batch_dependent)
        report.notes += found


def runtime_loader(runtimes: Mapping[str, Load] | None, model_type: str) -> Load:
    known = RUNTIMES if runtimes is None else runtimes
    if model_type not in known:
        raise LoadError(f"there is no runtime for {model_type}; known are {', '.join(known)}")
    # Here and not at the top: TensorFlow takes seconds to import, and few processes need every runtime.
    return importlib.import_module(RUNTIMES[model_type]).load if runtimes is None else runtimes[model_type]


def _check_names(runtime: Runtime) -> None:
    """Names of outputs stand in each result, whoever gave them."""
    for output in runtime.outputs:
        try:
            check_name(output.name, "output", "the model")
        except DescriptorError as e:
            raise LoadError(f"{e}: give it another name in the descriptor") from None


def _check_fields(runtime: Runtime, fields: Sequence[str], readings: Readings) -> None:
    unknown = sorted(read_fields(runtime.inputs, readings) - set(fields)) if fields else []
    if unknown:
        raise InputsError(
            f"the model reads {', '.join(unknown)}, which the records of this type do not have; "
            f"they have {', '.join(fields)}"
        )


class _Rows:
    """Rows for the smoke test and the warm-up: those given, else made-up ones. Raises `SmokeTestError`.

    `given` is how many were given, at least 1, so that each is tried. `notes`: what could not be tried.
    """

    def __init__(self, runtime: Runtime, publication: Publication) -> None:
        rows, self._readings = publication.smoke_rows, publication.readings
        self.given = max(len(rows), 1)
        self._runtime = runtime
        self._columns = smoke_test.smoke_columns(runtime.inputs, rows, self._readings) if rows else None
        self.notes: list[str] = []

    def columns(self, count: int) -> Columns:
        if self._columns is not None:
            return smoke_test.repeated(self._columns, self.given, count)
        return self._made_up(count)

    def tried(self, count: int) -> Columns:
        """`count` rows out of those that the smoke test tries: the model need not score others."""
        have = max(*_SMOKE_BATCHES, self.given)
        return smoke_test.repeated(self.columns(have), have, count)

    def company(self) -> Columns:
        """`company.ROWS` rows, of which as many differ as there are: those given, then made-up ones.

        Rows that were not tried before are left out where the model does not score them.
        """
        tried = self.columns(max(self.given, company.ROWS))
        more = self._made_up(_LOOKED_THROUGH)
        known = len(next(iter(tried.values())))
        rows = {name: np.concatenate([column, more[name]]) for name, column in tried.items()}
        chosen = smoke_test.different(rows, company.ROWS)
        if chosen[-1] >= known and not self._scores({n: c[chosen] for n, c in rows.items()}):
            chosen = smoke_test.different(tried, company.ROWS)
        if len(chosen) == 1 and self._columns is not None:
            self.notes.append(
                "whether answers depend on the records beside them was not seen, since all smoke rows are "
                "the same for the model: give different ones by --smoke"
            )
        return smoke_test.repeated({n: c[chosen] for n, c in rows.items()}, len(chosen), company.ROWS)

    def others(self) -> Columns:
        """Rows to stand before those of `company` in a crowd: made-up ones where the model scores such, if it
        can be with texts of different lengths, else those that were tried."""
        count = company.CROWD - company.ROWS
        for words in (_WORDS, 1):
            if self._scores(rows := self._made_up(count, words)):
                return rows
        return self.tried(count)

    def _scores(self, rows: Columns) -> bool:
        try:
            _call(self._runtime, rows)
        except UnresponsiveError:
            raise
        except Exception:
            return False
        return True

    def _made_up(self, count: int, words: int = 1) -> Columns:
        # A runtime may know rows that it has results for, or which values its inputs take.
        sample = getattr(self._runtime, "sample", None)
        if sample is not None and (known := sample(count)) is not None:
            return known
        valid, ranges = (getattr(self._runtime, name, None) for name in ("valid_values", "ranges"))
        made = smoke_test.generated(self._runtime.inputs, count, valid, ranges, words)
        return smoke_test.bounded(self._runtime.inputs, made, self._readings)


def _call(runtime: Runtime, columns: Columns) -> None:
    count = len(columns[runtime.inputs[0].name])
    smoke_test.check_answer(runtime.predict(columns), runtime.outputs, count)
