"""`millrace check-model`: would a job serve this model? Nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from millrace.model_options import ModelOptions
from millrace.option_groups import grouped
from millrace.options import Name, SecondOpinion


@grouped
def check_model(
    model: ModelOptions,
    *,
    name: Name = "",
    second_opinion: SecondOpinion = False,
) -> None:
    """Check a model as a job would before serving it: what it may do, loading, smoke test, warm-up.

    Ends with 1 and the step and the reason where the model would be refused.
    """
    from millrace.checking import check  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415

    said = model.said()
    with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
        checked = check(model.path, Path(scratch), name=name, **said)
        print_checked(checked)
        if second_opinion:
            from millrace.pmml_opinion import opinion  # noqa: PLC0415

            for line in opinion(checked, said["fields"], said["smoke_rows"]):
                typer.echo(line)
