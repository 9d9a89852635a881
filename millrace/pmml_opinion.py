"""What another evaluator says of a PMML document that passed its check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.checking import Checked
from schemas.errors import SettingsError


def opinion(checked: Checked, fields: tuple[str, ...], rows: Sequence[bytes]) -> list[str]:
    """Sentences on where pypmml differs, on made-up rows and on those given.

    Raises `SettingsError` for another kind of model.
    """
    from udfs.models.runtimes.base import Artifact  # noqa: PLC0415
    from udfs.models.runtimes.pmml.runtime import load  # noqa: PLC0415
    from udfs.models.runtimes.pmml.second_opinion import second_opinion, sentences  # noqa: PLC0415
    from udfs.models.smoke_test import smoke_columns  # noqa: PLC0415

    if checked.stamp.model_type != "PMML":
        raise SettingsError(f"only PMML has a second evaluator, and this is {checked.stamp.model_type}")
    data = checked.file.read_bytes()
    runtime = load(Artifact(data, None, Path()), checked.publication.wanted(fields))
    found = [f"made-up rows: {line}" for line in sentences(second_opinion(runtime, data))]
    if rows:
        given = second_opinion(runtime, data, smoke_columns(runtime.inputs, rows))
        found += [f"given rows: {line}" for line in sentences(given)]
    return found
