"""The frame of every demo: a live table on a terminal, else plain lines; and the last word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from demo.director import Director
from demo.panel import Screen, finding
from demo.verdict import Verdict

_FRAME_S = 0.25
_LINE_S = 2.0


class Facts(Protocol):
    """What a demo shows; it never draws by itself."""

    @property
    def name(self) -> str: ...

    @property
    def legend(self) -> Sequence[tuple[str, str]]: ...

    @property
    def director(self) -> Director: ...

    def sections(self) -> Sequence[RenderableType]:
        """The parts of the live table, one below the other."""

    def line(self) -> str:
        """One line of progress."""

    def summary(self, verdict: Verdict) -> tuple[Sequence[Text], Sequence[Text]]:
        """What the last word says before what was found, and after it."""


class Display:
    """`started` in epoch seconds; `note` is said in the top line instead of the stage."""

    def __init__(self, console: Console, facts: Facts, started: float) -> None:
        self._console, self._facts, self._started = console, facts, started
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next = 0.0
        self.note = ""

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed(self) -> float:
        return time.time() - self._started

    @property
    def heading(self) -> str:
        return self.note or self._facts.director.heading

    def screen(self) -> Screen:
        facts = self._facts
        return Screen(facts.name, self.heading, self.elapsed, facts.sections(), facts.legend)

    def tell(self, said: Sequence[str]) -> None:
        """Where there is no live table, in lines of their own."""
        if self._live is None:
            for line in said:
                self._console.print(f"[{self.elapsed:5.1f} s] {line}", markup=False, soft_wrap=True)

    def refresh(self) -> None:
        """Bring it up to date where it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (_LINE_S if self._live is None else _FRAME_S)
            self._draw()

    def say(self, note: str) -> None:
        """Bring it up to date now, with this note."""
        self.note = note
        self._draw()

    def end(self, verdict: Verdict) -> None:
        """The last word: what was found, and whether all is well."""
        head, more = self._facts.summary(verdict)
        findings = (finding(number, what) for what, number in verdict.faults.items())
        faults = (Text(f"  {fault}", "red") for fault in (*verdict.examples, *verdict.missing))
        word, style = ("All is well", "bold green") if verdict.good else ("Not well", "bold red")
        for line in (*head, *findings, *more, *faults, Text(f"{word}, after {self.elapsed:.0f} s.", style)):
            self._console.print(line, soft_wrap=True)

    def _draw(self) -> None:
        if self._live is None:
            self.tell([self._facts.line()])
        else:
            self._live.update(self.screen(), refresh=True)
