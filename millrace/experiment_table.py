"""Experiments and their steps as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import typer

from millrace.render import print_table
from millrace.versions import local, short
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent
from udfs.lifecycle.experiments.declaration import Experiment
from udfs.lifecycle.experiments.trying import Tried


def print_events(events: Iterable[ExperimentEvent], refused: Mapping[str, ExperimentEvent]) -> None:
    """A table an event: numbers stay whole in a terminal of 80 columns, where a row would not hold them.

    `refused`: experiment -> the refusal of an order that stands in its table.
    """
    for number, event in enumerate(events):
        if number:
            typer.echo()
        rows = _rows(event)
        if (order := refused.get(event.experiment)) is not None:
            rows.append(("refused", f"{local(order.at)}: {order.reason}"))
        print_table(("experiment", event.experiment), rows)


def print_steps(experiment: Experiment, found: Tried, counted: bool) -> None:
    """The steps of the ramp, with those of yesterday's entities whom each would treat."""
    rows: list[list[object]] = []
    for step in found.steps:
        took = "-" if step.takes_ms is None else _span(step.takes_ms)
        more = [step.treated, found.entities - step.treated, took] if counted else []
        rows.append([f"{step.step + 1} of {len(found.steps)}", f"{step.share:.2%}", *more])
    print_table(["step", "share", *(["treated", "control", "takes about"] if counted else [])], rows)
    if counted:
        without = f"{found.without:,} without {experiment.entity!r}"
        outside = f", {found.outside:,} outside of its population" if experiment.population else ""
        typer.echo(f"{found.records:,} records, {without}, {found.entities:,} entities{outside}")


def _rows(event: ExperimentEvent) -> list[tuple[str, str]]:
    rows = [("what", event.kind.replace("_", " ")), ("at", local(event.at)), ("for", event.data_type)]
    if event.kind != "refused":
        rows += [
            ("step", f"{event.step + 1} of {event.steps}" if event.steps else f"{event.step + 1}"),
            ("share", f"{event.share:.2%}{_of_part(event)}"),
            ("entities", f"{event.entities:,}"),
            ("control", _arm(event.arms.get(event.control))),
            ("treatment", _arm(event.arms.get(event.treatment))),
        ]
    return [row for row in (*rows, ("evidence", event.evidence), ("reason", event.reason)) if row[1]]


def _of_part(event: ExperimentEvent) -> str:
    low, high = event.population
    return "" if high - low == 1 else f" of {high - low:.2%}"


def _arm(figures: ArmFigures | None) -> str:
    if figures is None:
        return ""
    named = f"{figures.model} {short(figures.version)} " if figures.version else f"{figures.model} ".lstrip()
    return f"{named}{figures.mean:.4g} of {figures.entities:,}"


def _span(ms: float) -> str:
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 1000:.0f} seconds"
