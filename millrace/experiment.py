"""`millrace experiment`: start an experiment between models, see how it stands, and end it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.option_groups import grouped
from millrace.options import Bootstrap, Client, S3Access, Timeout
from millrace.stream_options import StreamOptions

if TYPE_CHECKING:
    from millrace.experiment_replay import Reading
    from schemas.lifecycle.experiments import ExperimentEvent
    from schemas.plans.plan import Plan
    from udfs.lifecycle.experiments.declaration import Experiment
    from udfs.lifecycle.experiments.orders import Order

experiment = typer.Typer(
    help="Start experiments between models, see how they stand, and end them. jobs/experiment.py acts on it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Action = Literal["stop", "promote", "rollback"]
ExperimentName = Annotated[str, typer.Argument(metavar="NAME", help="The experiment.")]
OfType = Annotated[str, typer.Option("--data-type", help="The type of the records that it is about.")]
Reason = Annotated[str, typer.Option("--reason", help="For those who read of it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be put in force.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines.")]


@dataclass(frozen=True, slots=True)
class ExperimentStream:
    """Where events of experiments are read, and of which."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="By default all.")] = ""
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from-folder", envvar="MILLRACE_EXPERIMENTS_FOLDER", help="JSON lines of experiments."
        ),
    ] = None
    bootstrap: Bootstrap = None
    topic: Annotated[
        str,
        typer.Option(
            "--topic", envvar="MILLRACE_EXPERIMENTS_TOPIC", help="The topic of events of experiments."
        ),
    ] = "experiments"
    client: Client = None
    timeout: Timeout = 15.0


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What the settings of jobs/experiment.py say, for a dry run of an end."""

    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            help="With --dry-run: the controller's signing.keys, where it has signing.require.",
            exists=True,
            dir_okay=False,
        ),
    ] = None
    controller: Annotated[
        str, typer.Option("--controller", help="With --keys: the controller's signing.audience, or its name.")
    ] = "millrace-experiment"
    version_jump: Annotated[
        int | None,
        typer.Option("--version-jump", min=1, help="With --dry-run: the controller's models.version_jump."),
    ] = None

    def reading(self) -> Reading:
        """How the controller reads the model stream."""
        from millrace.experiment_replay import Reading  # noqa: PLC0415
        from udfs.models.signing.gate import SigningSpec  # noqa: PLC0415

        signing = None if self.keys is None else SigningSpec(True, str(self.keys), self.controller)
        return Reading(signing, self.version_jump)


@dataclass(frozen=True, slots=True)
class Yesterday:
    """Stored predictions that a dry run asks the controller about."""

    predictions: Annotated[
        str,
        typer.Option(
            "--predictions",
            help="With --dry-run: stored predictions of the data type, a folder or s3://BUCKET/PREFIX/TYPE.",
        ),
    ] = ""
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="Stored scores from here on say positive.")
    ] = 0.5

    def rehearse(self, declared: Experiment, s3: S3Access) -> None:
        """Print what the controller would have decided by them, where there are any."""
        if not self.predictions:
            return
        from udfs.lifecycle.outcomes.rehearsing import rehearse  # noqa: PLC0415

        found = rehearse(declared, self.predictions, s3.options(), self.threshold)
        typer.echo(
            f"judged by {found.predictions:,} stored predictions: {found.without_entity:,} without "
            f"{declared.entity!r}, {found.unanswered:,} without an answer of each arm's model, "
            f"{found.outside:,} outside of its population"
        )
        _show(found.events, as_json=False)


@experiment.command("start")
@grouped
def start(
    file: Annotated[Path, typer.Argument(help="The experiment, .toml or .py.", exists=True, dir_okay=False)],
    *,
    dry_run: DryRun = False,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", help="With --dry-run: results of yesterday, a folder or file.", exists=True
        ),
    ] = None,
    yesterday: Yesterday,
    s3: S3Access,
    to: StreamOptions,
) -> None:
    """Check an experiment here and send it. Its first step is in force once the controller has read it.

    With --dry-run nothing is sent: it says what each step would put in force, with --results whom of
    yesterday's entities it would treat, and how long each step would take, and with --predictions what the
    controller would have decided of stored predictions, and when.
    """
    from millrace.experiment_file import load_experiment  # noqa: PLC0415
    from schemas.errors import ExperimentError  # noqa: PLC0415
    from udfs.lifecycle.experiments.orders import Order  # noqa: PLC0415

    declared = load_experiment(file)
    if declared.end is not None and declared.end.timestamp() <= time.time():
        said = f"{file}: {declared.name} was to end at {declared.end.isoformat()}, which is over"
        if not dry_run:
            raise ExperimentError(f"{said}: it would be rolled back at once")
        typer.echo(said, err=True)
    if dry_run:
        _show_steps(declared, results)
        yesterday.rehearse(declared, s3)
        return
    where = _send(Order("start", declared), declared.name, declared.data_type, to)
    _sent(declared.name, declared.name, declared.data_type, where)


def _ending(action: Action, meaning: str) -> None:
    """The command that ends an experiment in this way."""

    def end(
        name: ExperimentName,
        *,
        data_type: OfType,
        reason: Reason = "",
        dry_run: DryRun = False,
        yesterday: Yesterday,
        s3: S3Access,
        by: ControllerOptions,
        to: StreamOptions,
    ) -> None:
        _end(action, name, data_type, reason, dry_run=dry_run, yesterday=yesterday, s3=s3, by=by, to=to)

    experiment.command(action, help=meaning)(grouped(end))


_ending("stop", "End an experiment without a judgement: the control's plan is in force.")
_ending("rollback", "End an experiment by putting the control's plan in force, whatever the evidence says.")


@experiment.command("promote")
@grouped
def promote(
    name: ExperimentName,
    *,
    data_type: OfType,
    arm: Annotated[str, typer.Option("--arm", help="Which treatment, where there are several.")] = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    yesterday: Yesterday,
    s3: S3Access,
    by: ControllerOptions,
    to: StreamOptions,
) -> None:
    """End an experiment by putting a treatment's plan in force, whatever the evidence says.

    Other experiments of the data type go on, with their arms as they are.
    """
    _end("promote", name, data_type, reason, arm, dry_run=dry_run, yesterday=yesterday, s3=s3, by=by, to=to)


@experiment.command("status")
@grouped
def status(
    of: ExperimentStream,
    *,
    as_json: AsJson = False,
) -> None:
    """Show how each experiment stands: shares, figures of its arms, the evidence, and what was refused since.

    An order that was refused is shown until the experiment's next decision; history has all.
    """
    from millrace.experiment_standing import standing  # noqa: PLC0415

    latest, refused = standing(_events(of))
    _show(latest, as_json, refused, of.name)


@experiment.command("history")
@grouped
def history(
    of: ExperimentStream,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what became of experiments, decision by decision, each with its evidence."""
    found = _events(of)
    _show(sorted((e for e in found if e.kind != "progress"), key=lambda e: e.at), as_json, name=of.name)


def _end(
    action: Action,
    name: str,
    data_type: str,
    reason: str,
    arm: str = "",
    *,
    dry_run: bool,
    yesterday: Yesterday,
    s3: S3Access,
    by: ControllerOptions,
    to: StreamOptions,
) -> None:
    from millrace.experiment_replay import end_of  # noqa: PLC0415
    from schemas.plans.plan import read_plan  # noqa: PLC0415
    from udfs.lifecycle.experiments.orders import Order  # noqa: PLC0415

    order = Order(action, None, reason, arm)
    if not dry_run:
        where = _send(order, name, data_type, to)
        _sent(f"{action} {name}", name, data_type, where)
        return
    to.signer()  # a key that is none is told here too
    ordered, event, declared = end_of(order, name, data_type, to.stream(), by.reading())
    who = "entities in no other experiment of " if event.population != (0.0, 1.0) else ""
    _show_plan(f"{action} {name} would put in force for {who}{data_type}", read_plan(ordered.plan).rest)
    yesterday.rehearse(declared, s3)


def _send(order: Order, name: str, data_type: str, to: StreamOptions) -> str:
    from udfs.lifecycle.experiments.orders import read_order, write_order  # noqa: PLC0415
    from udfs.models.descriptor import EXPERIMENT, build  # noqa: PLC0415

    text = write_order(order)
    read_order(text)  # what the controller could not read is told here
    stream, signs = to.stream(), to.signer()
    created_ms, version = stream.moment(data_type)
    descriptor = build(
        data_type=data_type,
        name=name,
        version=version,
        created_ms=created_ms,
        operation=EXPERIMENT,
        experiment=text,
    )
    descriptor = descriptor if signs is None else signs.sign(descriptor)
    return stream.send(data_type, name, version, created_ms, descriptor)


def _sent(what: str, name: str, data_type: str, where: str) -> None:
    """An order may be refused yet, as for a name that is none."""
    typer.echo(f"Sent: {what} for {data_type}: {where}")
    typer.echo(f"What becomes of it: millrace experiment status {shlex.quote(name)}")


def _events(of: ExperimentStream) -> Iterator[ExperimentEvent]:
    from millrace.reading import lines_there  # noqa: PLC0415
    from schemas.errors import ExperimentError  # noqa: PLC0415
    from schemas.lifecycle.experiments import read_event  # noqa: PLC0415

    for line in lines_there(of.from_folder, of.bootstrap, of.topic, of.client, of.timeout):
        try:
            event = read_event(line)
        except ExperimentError:
            continue  # of a newer release, or no event
        if of.name in ("", event.experiment):
            yield event


def _show(
    events: list[ExperimentEvent],
    as_json: bool,
    refused: Mapping[str, ExperimentEvent] | None = None,
    name: str = "",
) -> None:
    from millrace.experiment_table import print_events  # noqa: PLC0415
    from schemas.errors import ExperimentError  # noqa: PLC0415
    from schemas.lifecycle.experiments import write_event  # noqa: PLC0415

    if name and not events:
        raise ExperimentError(
            f"there is no experiment {name!r}, or jobs/experiment.py has not read of it yet"
        )
    if as_json:
        for event in events:
            typer.echo(write_event(event).decode())
    elif not events:
        typer.echo("There is no experiment.", err=True)
    else:
        print_events(events, refused or {})


def _show_steps(declared: Experiment, results: Path | None) -> None:
    from millrace.experiment_table import print_steps  # noqa: PLC0415
    from millrace.folder_stream import lines, lines_of  # noqa: PLC0415
    from schemas.results.results import read_result  # noqa: PLC0415
    from udfs.lifecycle.experiments.arm_plans import plan_after  # noqa: PLC0415
    from udfs.lifecycle.experiments.trying import tried  # noqa: PLC0415

    found = iter(()) if results is None else lines_of(results) if results.is_file() else lines(results)
    own = (r for r in map(read_result, found) if r.data_type == declared.data_type)
    print_steps(declared, tried(declared, ((r.record, r.event_time) for r in own)), results is not None)
    for title in declared.treatments:
        arm = f"arm {title}" if declared.sampling else "it"
        _show_plan(f"promoted, {arm} would put in force", plan_after(declared, "promoted", title))
    _show_plan("rolled back or stopped, it would put in force", plan_after(declared, "rolled_back"))


def _show_plan(what: str, plan: Plan) -> None:
    from schemas.plans.plan import write_plan  # noqa: PLC0415

    typer.echo(f"{what}:")
    typer.echo(json.dumps(json.loads(write_plan(plan)), indent=2))
