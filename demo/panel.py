"""What the demos' displays are made of: a panel, tables whose numbers and states are never cut, figures with
a bar, and a legend.

A terminal may be narrow or low. Where it is narrow, words yield to their shorter form; where it is low,
empty lines and the legend do. Numbers and states always stand whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

WIDTH = 120
"""In columns; a wider terminal is not filled."""
_LABEL = 12


@dataclass(frozen=True, slots=True)
class Wording:
    """A text in one of several forms, the first that fits; `widths` are those of the forms."""

    forms: Sequence[Text]
    widths: Sequence[int]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.widths[-1], self.widths[0])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for form, width in zip(self.forms, self.widths, strict=True):
            if width <= options.max_width:
                yield form
                return
        yield self.forms[-1]


def wordings(rows: Iterable[Sequence[str | Text]]) -> list[Wording]:
    """The cells of a column, each in as many forms, the longest first: all cells show the same form.

    An empty last form lets the column vanish where there is no room for it.
    """
    texts = [[Text(form) if isinstance(form, str) else form for form in row] for row in rows]
    widths = [max(cell_len(form.plain) for form in column) for column in zip(*texts, strict=True)]
    return [Wording(row, widths) for row in texts]


def table_of(*columns: tuple[str, int | None]) -> Table:
    """Columns of at least a width, so that nothing jumps; negative: at the right; None: of `wordings`."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        header_style="dim",
        border_style="dim",
        collapse_padding=True,
    )
    for heading, width in columns:
        if width is None:
            table.add_column(heading)
        else:
            least = max(abs(width), len(heading))
            table.add_column(heading, justify="right" if width < 0 else "left", min_width=least, no_wrap=True)
    return table


def figures(named: Sequence[tuple[str, str]], total: int, done: int) -> RenderableType:
    """The most important numbers, side by side, over a bar."""
    grid = Table.grid(expand=True)
    for _ in named:
        grid.add_column(ratio=1, no_wrap=True)
    grid.add_row(*(Text(value, "bold white") for _, value in named))
    grid.add_row(*(Text(name, "dim") for name, _ in named))
    # A bar does not end its line.
    return Group(grid, Text(), ProgressBar(total, done, complete_style="cyan"), Text())


def labelled(rows: Iterable[tuple[str, RenderableType]], style: str = "") -> RenderableType:
    """A name and what is said of it, a row each; long words are wrapped."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", width=_LABEL, no_wrap=True)
    grid.add_column(style=style, overflow="fold")
    for name, said in rows:
        grid.add_row(name, said)
    return grid


@dataclass(frozen=True, slots=True)
class Screen:
    """A panel of `sections`, with a `legend` where there is room for it."""

    name: str
    stage: str
    elapsed: float
    sections: Sequence[RenderableType]
    legend: Sequence[tuple[str, str]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for panel in self._forms():
            lines = console.render_lines(panel, options.update(height=None), pad=False)
            if len(lines) <= options.max_height:
                break
        yield panel

    def _forms(self) -> Iterator[Panel]:
        legend = [labelled(self.legend, "dim")] if self.legend else []
        yield self._panel([*self.sections, *legend], empty=1)
        yield self._panel(self.sections, empty=1)
        yield self._panel(self.sections, empty=0)

    def _panel(self, sections: Sequence[RenderableType], empty: int) -> Panel:
        parts: list[RenderableType] = []
        for section in sections:
            parts += [Text()] * empty if parts else []
            parts.append(section)
        return Panel(
            Group(*parts),
            title=Text.assemble((f" {self.name} ", "bold cyan"), (f"· {self.stage} ", "default")),
            title_align="left",
            subtitle=Text(f" {self.elapsed:.0f} s ", style="dim"),
            subtitle_align="right",
            border_style="cyan",
            box=box.ROUNDED,
            padding=(empty, 1, 0, 1),
        )


def percentiles(found: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """p50 and p99, None where there is nothing."""
    if not found:
        return None, None
    p50, p99 = np.percentile(found, (50, 99))
    return float(p50), float(p99)


def ms_of(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def share_of(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def finding(number: int, what: str) -> Text:
    """A number that should be 0, and of what."""
    return Text.assemble((f"{number:>9,} ", "bold green" if number == 0 else "bold red"), what)


def counted(number: int, what: str) -> Text:
    """A number that is as it is, and of what."""
    return Text.assemble((f"{number:,}", "bold"), what)
