"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.versions import with_date

if TYPE_CHECKING:
    from millrace.checking import Checked

_FILE_WIDTH = 240


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough that nothing is cut in a file or a pipe."""
    # without styles: the characters that make them are escaped, as all that control the terminal
    plain = Console(color_system=None)
    return plain if plain.is_terminal else Console(width=_FILE_WIDTH, color_system=None)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table; numbers stand at the right. Names of models and fields are text, never markup."""
    rows = [tuple(row) for row in rows]
    table = Table(title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for n, heading in enumerate(headings):
        number = bool(rows) and all(isinstance(row[n], int | float) for row in rows)
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    console().print(table)


def print_checked(checked: Checked, version: int | None = None) -> None:
    """What will be served, and how the check went."""
    served = f"{checked.stamp.data_type}: {checked.stamp.name}"
    rows = [
        ("type", checked.stamp.model_type),
        ("digest", checked.stamp.digest),
        ("size", f"{checked.report.size:,} bytes"),
    ]
    if version is not None:
        rows.insert(0, ("version", with_date(version)))
    graph = checked.publication.graph
    rows += [
        (f"node {n.name}", f"{n.combine} of {', '.join(map(str, n.of))}" if n.combine else n.model_type)
        for n in (graph.nodes if graph else ())
    ]
    rows += [
        (f"input {i.name}", f"{i.dtype.value}{list(i.shape) or ''} from {', '.join(i.fields)}")
        for i in checked.inputs
    ]
    rows += [(f"output {o.name}", f"{o.dtype.value}{list(o.shape) or ''}") for o in checked.outputs]
    took = checked.report.seconds.items()
    rows += [(f"step {step}", _timing(seconds, checked.warm.get(step))) for step, seconds in took]
    if checked.started:
        started = " and ".join(checked.started)
        rows.append(("cold", f"{started} had to start, which a job does once and not for each model"))
    rows += [(f"batch of {n}", f"{ms:.3f} ms a call (p50)") for n, ms in checked.report.warm_up_ms.items()]
    rows += [("note", note) for note in checked.report.notes]
    print_table(("model", served), rows)


def _timing(seconds: float, warm: float | None) -> str:
    """Of a step; where a start was in it (more than a tenth of a second and half of it), also without."""
    cold = warm is not None and seconds - warm > max(0.1, warm)
    return f"{seconds:.3f} s cold, {warm:.3f} s warm" if cold else f"{seconds:.3f} s"


def _shown(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)
