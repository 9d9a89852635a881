"""`millrace quality`: how good stored predictions were, from the prediction store."""

from __future__ import annotations

import json
import math
from typing import Annotated

import typer

from millrace.option_groups import grouped
from millrace.options import S3Access

_SHOWN = {
    "classes": ("outcomes", "coverage", "accuracy", "precision", "recall", "log_loss", "brier", "auc"),
    "multiclass": ("outcomes", "coverage", "accuracy", "precision", "recall", "log_loss", "brier", "auc"),
    "labels": ("outcomes", "coverage", "accuracy", "precision", "recall"),
    "numbers": ("outcomes", "coverage", "mae", "rmse", "bias", "error_p50", "error_p90", "error_p99"),
}
_BY = ("window", "model", "version", "plan", "plan_version", "experiment", "arm", "candidate")


@grouped
def quality(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="Of one data type: a folder, or s3://BUCKET/PREFIX/TYPE.")
    ],
    *,
    by: Annotated[
        str,
        typer.Option("--by", help=f"What is told apart, with commas: {', '.join(_BY)}, or stored fields."),
    ] = "model,version",
    window: Annotated[int, typer.Option("--window", min=1, help="Seconds of event time.")] = 300,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="Scores from here on say positive.")
    ] = 0.5,
    s3: S3Access,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines: keys, figures and sums.")] = False,
) -> None:
    """Count stored predictions against their outcomes, by the code that `jobs/outcomes.py` counts with.

    The latest outcome of each prediction counts. What experiments and candidates are part of is told apart
    where `--by` names experiment, arm or candidate.
    """
    from millrace.render import print_table  # noqa: PLC0415
    from schemas.errors import SettingsError  # noqa: PLC0415
    from udfs.lifecycle.outcomes.stored import name_parts, stored_quality, told_apart_by  # noqa: PLC0415
    from udfs.lifecycle.quality.exchange import quality_record  # noqa: PLC0415

    parts = [part.strip() for part in by.split(",") if part.strip()]
    slices = [part for part in parts if part not in _BY]
    if len(slices) > 3:
        raise SettingsError(f"quality is told apart by up to three fields, not {len(slices)}")
    counted = stored_quality(store, s3.options(), window_ms=window * 1000, threshold=threshold, slices=slices)
    found = [
        (name_parts(key, parts), quality_record(key, sums, window * 1000, 0))
        for key, sums in sorted(told_apart_by(counted, parts).sums.items())
    ]
    if as_json:
        for named, record in found:
            typer.echo(json.dumps({**named, "figures": record.figures, "sums": record.sums}))
        return
    if not found:
        raise SettingsError(f"no prediction at {store} belongs to an {by}")
    shown = _SHOWN[found[0][1].kind]
    rows = [
        (*named.values(), *(_number(record.figures.get(name, math.nan)) for name in shown))
        for named, record in found
    ]
    print_table((*parts, *shown), rows)


def _number(value: float) -> object:
    if math.isnan(value):
        return "-"
    return int(value) if value == int(value) and abs(value) > 1 else round(value, 4)
