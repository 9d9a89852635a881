"""What else a PMML document can show: its own verification, and what another evaluator says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.checking import Checked
from schemas.errors import SettingsError, UnprovenModelError


def opinion(
    checked: Checked, fields: tuple[str, ...], rows: Sequence[bytes], second: bool, verification: bool
) -> list[str]:
    """Sentences on a model that passed its check.

    `second`: compare with pypmml; `verification`: insist on it.

    Raises `SettingsError` for another kind of model, `UnprovenModelError` where the verification is lacking.
    """
    from udfs.models.runtimes.base import Artifact  # noqa: PLC0415
    from udfs.models.runtimes.pmml.compiler.verification import verification as told  # noqa: PLC0415
    from udfs.models.runtimes.pmml.document import parse  # noqa: PLC0415
    from udfs.models.runtimes.pmml.runtime import load  # noqa: PLC0415
    from udfs.models.runtimes.pmml.second_opinion import second_opinion, sentences  # noqa: PLC0415
    from udfs.models.smoke_test import smoke_columns  # noqa: PLC0415

    if checked.stamp.model_type != "PMML":
        raise SettingsError(
            f"only PMML has a second evaluator and rows of its own, and this is {checked.stamp.model_type}"
        )
    data = checked.file.read_bytes()
    found: list[str] = []
    if verification:
        rows_told = told(parse(data).model)
        if rows_told is None:
            raise UnprovenModelError("the document holds no ModelVerification, which is required")
        found.append(f"the model agrees with the {len(rows_told.rows)} rows of its own verification")
    if second:
        runtime = load(Artifact(data, None, Path()), checked.publication.wanted(fields))
        columns = smoke_columns(runtime.inputs, rows) if rows else None
        found += sentences(second_opinion(runtime, data, columns))
    return found
