"""`millrace replay-policy`: what another plan would have made of recorded results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.option_groups import grouped
from millrace.options import Bootstrap, Client, S3Access, Timeout

if TYPE_CHECKING:
    from millrace.score_sheet import ScoreSheet
    from schemas.plans.plan import Plan
    from schemas.results.decided import Decided

_AT_ONCE = 4096


@grouped
def replay_policy(
    plan_file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="A plan, as JSON.", exists=True, dir_okay=False)
    ],
    *,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from-folder",
            envvar="MILLRACE_RESULTS_FOLDER",
            help="Decided results: a folder of JSON lines, or a file.",
        ),
    ] = None,
    from_store: Annotated[
        str,
        typer.Option(
            "--from-store", help="Stored predictions of one data type: a folder, or s3://BUCKET/PREFIX/TYPE."
        ),
    ] = "",
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_RESULTS_TOPIC", help="The topic of results.")
    ] = "results",
    client: Client = None,
    timeout: Timeout = 15.0,
    data_type: Annotated[str, typer.Option("--data-type", help="Only its results.")] = "",
    deadline_ms: Annotated[
        int | None, typer.Option("--deadline-ms", min=1, help="Another deadline than the plan's.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="CANDIDATE:NAME=VALUE, a quality metric for the policy best_quality; repeat."
        ),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="The field of the record that holds the truth.")] = "",
    output: Annotated[str, typer.Option("--output", help="The score to hold against it.")] = "",
    s3: S3Access,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Decide recorded results once more by another plan, and show what would have changed.

    The plan's policy, shadows and deadline count; who was asked stays as it was. Answers that were not waited
    for are not known, and count as missing. A decision has changed where its scores have. Of a prediction
    store the record has the fields that are stored, and in `outcome` what came of it: `--label outcome`.
    """
    from millrace.reading import lines_there  # noqa: PLC0415
    from millrace.score_sheet import ScoreSheet  # noqa: PLC0415
    from schemas.errors import SourceError  # noqa: PLC0415
    from udfs.ensemble.policies.replay import redecide  # noqa: PLC0415

    if from_store and from_folder is not None:
        raise typer.BadParameter("give either --from-folder or --from-store")
    if from_store:
        from udfs.lifecycle.outcomes.stored_results import stored_results  # noqa: PLC0415

        lines = stored_results(from_store, s3.options())
    else:
        lines = lines_there(from_folder, bootstrap, topic, client, timeout)
    metrics = _metrics(metric)
    plan = _plan(plan_file, deadline_ms, metrics)
    where = from_store or (str(from_folder) if from_folder is not None else f"{topic} at {bootstrap}")
    reader = _Reader(data_type)
    results = reader.decided(lines)
    sheet = ScoreSheet(label)
    while chunk := list(islice(results, _AT_ONCE)):
        sheet.output = sheet.output or (label and (output or _only_output(plan, chunk)))
        try:
            made = redecide(chunk, plan, metrics)
        except ValueError as e:
            raise SourceError(f"results in {where} cannot be decided again: {e}") from e
        for old, new in zip(chunk, made, strict=True):
            sheet.add(old, new)
    if not sheet.records:
        about = f" of the data type {data_type!r}" if data_type else ""
        raise SourceError(f"there are no decided results{about} in {where}")
    if label and sheet.unlabelled == sheet.records:
        raise SourceError(f"no record in {where} has the field {label!r}")
    _remarks(sheet, reader.passed_over)
    _show(sheet, as_json)


class _Reader:
    """Decided results of one data type; `passed_over` counts lines that are none."""

    def __init__(self, data_type: str) -> None:
        self._wanted, self._found = data_type, data_type
        self.passed_over = 0

    def decided(self, lines: Iterable[bytes]) -> Iterator[Decided]:
        from schemas.errors import SettingsError  # noqa: PLC0415
        from schemas.results.decided import read_decided  # noqa: PLC0415

        for line in lines:
            try:
                found = read_decided(line)
            except ValueError:
                self.passed_over += 1
                continue
            this = found.result.data_type
            self._found = self._found or this
            if this == self._found:
                yield found
            elif not self._wanted:
                raise SettingsError(
                    f"there are results of {self._found!r} and {this!r}: say which with --data-type"
                )


def _plan(path: Path, deadline_ms: int | None, metrics: dict[str, dict[str, float]]) -> Plan:
    from msgspec.structs import replace  # noqa: PLC0415

    from schemas.errors import PlanError, SettingsError  # noqa: PLC0415
    from schemas.plans.plan import BestQuality, chain, read_plan  # noqa: PLC0415

    try:
        plan = read_plan(path.read_bytes())
    except (PlanError, OSError) as e:
        raise SettingsError(f"{path} is of no use as a plan: {e}") from e
    if plan.splits:
        raise SettingsError(f"{path} is an experiment's: its arms decide, so replay the plan of an arm")
    for policy in chain(plan.policy):
        if isinstance(policy, BestQuality) and not any(policy.metric in known for known in metrics.values()):
            raise SettingsError(
                f"results do not hold quality metrics: give them as --metric CANDIDATE:{policy.metric}=VALUE"
            )
    return plan if deadline_ms is None else replace(plan, deadline_ms=deadline_ms)


def _metrics(values: list[str] | None) -> dict[str, dict[str, float]]:
    from millrace.values import parse_metrics  # noqa: PLC0415

    metrics: dict[str, dict[str, float]] = {}
    for (key, _), value in parse_metrics(values).items():
        candidate, colon, name = key.rpartition(":")
        if not colon:
            raise typer.BadParameter(f"{key}={value} is not CANDIDATE:NAME=VALUE", param_hint="--metric")
        metrics.setdefault(candidate, {})[name] = value
    return metrics


def _only_output(plan: Plan, results: list[Decided]) -> str:
    """The output that the plan decides about, or the only one that there is."""
    from schemas.errors import SettingsError  # noqa: PLC0415
    from schemas.plans.plan import chain  # noqa: PLC0415

    for policy in chain(plan.policy):
        if named := getattr(policy, "output", ""):
            return str(named)
    found = {name for r in results for scores in (r.result.scores, *_answered(r)) for name in scores}
    if len(found) != 1:
        raise SettingsError(f"the outputs are {', '.join(sorted(found)) or 'none'}: say which with --output")
    return found.pop()


def _answered(result: Decided) -> Iterator[dict[str, Any]]:
    return (answer.scores for answer in result.answers.values())


def _remarks(sheet: ScoreSheet, passed_over: int) -> None:
    if passed_over:
        typer.echo(f"{passed_over} lines are no decided results, and were passed over.", err=True)
    if sheet.unknown:
        typer.echo(
            f"Of {sheet.unknown} records answers were not waited for: they count as missing.", err=True
        )
    if sheet.unlabelled:
        typer.echo(f"{sheet.unlabelled} records have no {sheet.label!r}, and are not judged.", err=True)


def _show(sheet: ScoreSheet, as_json: bool) -> None:
    from millrace.render import print_table  # noqa: PLC0415
    from millrace.score_sheet import COMBINED  # noqa: PLC0415

    both = (sheet.recorded, sheet.replayed)
    judged = {"recorded": both[0].rightness, "replayed": both[1].rightness}
    alone = dict(sorted(sheet.alone.items()))
    if as_json:
        found: dict[str, Any] = {"records": sheet.records, "changed": sheet.changed}
        for name, count in zip(judged, both, strict=True):
            found[name] = {"decided": count.decided, "undecided": count.undecided, "wins": dict(count.wins)}
        if sheet.label:
            judged_json = {n: _judged(r) for n, r in judged.items()}
            found["judged"] = {**judged_json, "alone": {n: _judged(r) for n, r in alone.items()}}
        typer.echo(json.dumps(found, indent=2))
        return
    rows: list[tuple[object, ...]] = [
        ("decided", *(c.decided for c in both)),
        ("undecided", *(c.undecided for c in both)),
        *((f"decided by {name}", *(c.wins[name] for c in both)) for name in alone),
        ("combined, or a fixed value", *(c.wins[COMBINED] for c in both)),
    ]
    print_table(("", "recorded", "replayed"), rows, f"{sheet.records} records, {sheet.changed} changed")
    if sheet.label:
        named = {"recorded decision": judged["recorded"], "replayed decision": judged["replayed"]}
        named |= {f"{name} alone": rightness for name, rightness in alone.items()}
        print_table(
            ("", "records", "accuracy", "mean absolute error"),
            [(name, r.records, _number(r.accuracy), _number(r.error)) for name, r in named.items()],
            f"{sheet.output} against {sheet.label}",
        )


def _judged(rightness: Any) -> dict[str, float | None]:
    values = {name: getattr(rightness, name) for name in ("records", "accuracy", "error")}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"
