"""What all demos run in, without jobs: stages, the flow of records, the display, and the exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from demo import job, running
from demo.director import Director, Stage
from demo.display import Display
from demo.feed import Feed
from demo.job import DemoError, Jobs
from demo.pace import PacedFeed
from demo.plan import CANCER_1, DAMAGED, DataSet
from demo.running import Run
from demo.serve import unplanned
from demo.verdict import Verdict
from demo.watch import Served, Watch
from schemas.results.records import EventKind, ModelEvent


class Bench:
    """A workbench that is busy until its answer, which is there when it is `done`, was taken."""

    busy = done = False

    def ask(self) -> None:
        self.busy = True

    def answer(self) -> None:
        self.busy = not self.done


class Flow:
    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []
        self.all_written = self.out = True
        self.count = 0

    def flow(self, now: float, at: int, hold: bool) -> bool:
        self.seen.append((at, hold))
        return self.all_written

    def settled(self) -> bool:
        return self.out

    def progress(self) -> object:
        return self.count


def director_of(*stages: Stage, bench: Any = None) -> tuple[Director, Flow]:
    flow = Flow()
    return Director(stages, cast(Any, bench or Bench()), flow), flow


def test_a_stage_ends_when_its_steps_are_taken_it_is_done_and_its_records_are_written() -> None:
    bench, took, done = Bench(), [], False
    ready = False

    def second() -> bool:
        took.append("second")
        return ready

    first = Stage("one", (lambda: (took.append("first"), bench.ask()), second), lambda: done, "not done", 0.5)
    then = Stage("two", (lambda: took.append("third"),), lambda: took[-1] == "third", "not third")
    director, flow = director_of(first, then, bench=bench)
    director.step(1.0)
    director.step(2.0)
    assert took == ["first"]  # the workbench is at it
    bench.done = True
    director.step(3.0)
    director.step(4.0)
    assert took == ["first", "second", "second"]  # its time has not come
    ready = True
    director.step(5.0)
    assert (director.at, flow.seen[-1]) == (0, (0, True))
    assert director.missing() == ["not done", "not third"]
    before = director.progress
    done, flow.all_written = True, False
    director.step(6.0)
    assert (director.at, flow.seen[-1]) == (0, (0, False))
    flow.all_written = True
    director.step(7.0)
    assert (director.at, director.heading, director.missing()) == (1, "2/2 two", ["not third"])
    assert director.progress != before
    flow.count += 1
    assert director.progress == (1, 1)
    assert (director.seconds(0, 9.0), director.seconds(1, 9.0), director.seconds(2, 9.0)) == (6.0, 2.0, None)
    director.step(8.0)
    assert took[-1] == "third" and director.over


def test_all_is_over_after_the_last_stage_and_finished_when_it_has_come_out() -> None:
    director, flow = director_of(Stage("one", (), lambda: True, ""))
    assert (director.over, director.heading) == (False, "1/1 one")
    flow.out = False
    director.step(1.0)
    assert (director.over, director.finished, director.heading) == (True, False, "1/1 one")
    director.step(2.0)
    assert flow.seen[-1] == (1, True)  # what comes of records goes on
    flow.out = True
    assert director.finished


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    data = DataSet("wine", ("a", "b"), ("x", "y"), ((1.0, 2.0), (3.0, 4.0)), ("x", "y"))
    return Feed(tmp_path / "records", [data], seed=0)


def served_in(folder: Path) -> Served[bytes]:
    return Served(folder, lambda line, visible: line)


def test_each_stage_has_its_share_of_the_records_and_what_waits_gets_ever_fewer(
    tmp_path: Path, feed: Feed
) -> None:
    stages = [Stage("one", (), lambda: True, "", 0.1), Stage("two", (), lambda: True, "", 0.9)]
    served = served_in(tmp_path)
    flow = PacedFeed(feed, served, stages, 1000, rate=300)
    assert not flow.flow(1.0, 0, hold=False) and feed.count == 0
    assert not flow.flow(1.1, 0, hold=False) and feed.count == 30
    assert not flow.flow(1.1, 0, hold=False) and feed.count == 30
    assert not flow.flow(9.0, 0, hold=True) and feed.count == 31
    assert not flow.flow(9.1, 0, hold=False) and feed.count == 91  # a fifth of a second is caught up with
    assert flow.flow(9.2, 0, hold=False) and feed.count == 100
    for now in range(10, 40):
        flow.flow(now, 1, hold=False)
    assert feed.count == 1000 and flow.flow(41.0, 2, hold=False) and feed.count == 1000
    assert not flow.settled()
    before = flow.progress()
    served.results += [b""] * 1000
    assert flow.settled() and flow.progress() != before


def test_a_job_that_fails_or_ends_too_soon_is_an_error_and_all_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeJob:
        exit_code: int | None = None
        stopped = False

        def __init__(self, *_: object) -> None: ...

        def tail(self) -> str:
            return "its last line"

        def stop(self) -> None:
            self.stopped = True

    monkeypatch.setattr(job, "Job", FakeJob)
    with contextlib.ExitStack() as cleanup:
        jobs = Jobs(cleanup)
        serve = cast(Any, jobs.start("serve.py", tmp_path, []))
        batch = cast(Any, jobs.start("training_set.py", tmp_path, [], ends=True))
        jobs.check()
        assert not jobs.ended("training_set.py") and not jobs.ended("assemble.py")
        batch.exit_code = 0
        jobs.check()
        assert jobs.ended("training_set.py")
        batch.exit_code = 1
        with pytest.raises(DemoError, match=r"training_set\.py ended with code 1\.\nits last line"):
            jobs.check()
        batch.exit_code, serve.exit_code = 0, 0
        with pytest.raises(DemoError, match=r"serve\.py ended with code 0"):
            jobs.check()
        assert jobs.tails() == "its last line\nits last line"
    assert serve.stopped and batch.stopped


class Facts:
    name, legend = "Some demo", ()

    def __init__(self, director: Director) -> None:
        self.director = director

    def sections(self) -> Sequence[RenderableType]:
        return [Text("a table")]

    def line(self) -> str:
        return "in 7  [of] all"

    def summary(self, verdict: Verdict) -> tuple[Sequence[Text], Sequence[Text]]:
        return [Text("7 records, of which")], [Text("3 scored")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_POLL_S", 0.0)
    monkeypatch.setattr(running, "_LINGER_S", 0.0)


def shown(
    verdict: Verdict, *stages: Stage, terminal: bool = False, said: Sequence[str] = ()
) -> tuple[int, str]:
    output = io.StringIO()
    console = Console(file=output, width=80, height=24, force_terminal=terminal, color_system=None)
    director, _ = director_of(*(stages or (Stage("the only stage", (), lambda: True, ""),)))
    news = [list(said)]
    with contextlib.ExitStack() as cleanup:
        run = Run(argparse.Namespace(), console, Path(), cleanup, started=0.0)
        code = run.show(Facts(director), director, lambda: news.pop() if news else [], lambda: verdict)
    return code, output.getvalue()


@pytest.mark.usefixtures("quick")
def test_without_a_terminal_there_are_lines_and_the_last_word() -> None:
    verdict = Verdict.of("lost")
    code, text = shown(verdict, said=["wine v1 is served"])
    lines = [line.partition(" s] ")[2] or line for line in text.splitlines()]
    assert code == 0
    assert lines[:-1] == [
        "wine v1 is served",
        *["in 7  [of] all"] * 3,  # at the start, before the judge, and at the end
        "7 records, of which",
        "        0 lost",
        "3 scored",
    ]
    assert lines[-1].startswith("All is well, after ")


@pytest.mark.usefixtures("quick")
def test_on_a_terminal_there_is_a_table_and_what_happens_is_in_it() -> None:
    code, text = shown(Verdict.of("lost"), terminal=True, said=["wine v1 is served"])
    assert code == 0
    for heading in ("1/1 the only stage", "checking every result", "done"):
        assert f" Some demo · {heading} " in text
    assert "a table" in text and "in 7" not in text and "wine v1" not in text
    assert "        0 lost" in text and "All is well" in text
    hidden, shown_again = text.index("\x1b[?25l"), text.index("\x1b[?25h")
    assert hidden < shown_again < text.index("7 records, of which")  # the cursor


def test_the_display_is_brought_up_to_date_where_it_is_time_or_there_is_a_note() -> None:
    output = io.StringIO()
    director, _ = director_of(Stage("one", (), lambda: True, ""))
    display = Display(Console(file=output), Facts(director), started=0.0)
    for _ in range(9):
        display.refresh()
    assert output.getvalue().count("in 7") == 1
    display.say("done")
    assert output.getvalue().count("in 7") == 2 and display.heading == "done"


@pytest.mark.usefixtures("quick")
def test_a_job_that_ends_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(jobs: Jobs) -> None:
        raise DemoError("a job ended")

    monkeypatch.setattr(Jobs, "check", check)
    with pytest.raises(DemoError, match="a job ended"):
        shown(Verdict.of("lost"))


@pytest.mark.usefixtures("quick")
def test_what_is_wrong_is_said_and_the_exit_code_is_one() -> None:
    verdict = Verdict.of("lost", "doubled")
    verdict.count("lost", ["line 3 never came out"])
    code, text = shown(verdict)
    assert code == 1
    assert "        1 lost\n        0 doubled\n3 scored\n  line 3 never came out\nNot well" in text


@pytest.mark.usefixtures("quick")
def test_what_has_not_gone_by_the_plan_is_wrong_too() -> None:
    answers = iter([True])  # done once, and not when it is asked again
    code, text = shown(Verdict.of("lost"), Stage("one", (), lambda: next(answers, False), "no model serves"))
    assert code == 1 and "  no model serves\nNot well" in text


def test_silence_is_an_error_that_says_what_is_waited_for(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SILENCE_S", 0.0)
    with pytest.raises(DemoError, match=r"nothing has happened for 0.0 s: no model serves\."):
        shown(Verdict.of("lost"), Stage("one", (), lambda: False, "no model serves"))


def test_after_silence_at_the_end_the_judge_says_what_is_missing(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SILENCE_S", 0.0)
    monkeypatch.setattr(Flow, "settled", lambda self: False)
    verdict = Verdict.of("lost")
    verdict.count("lost", 2)
    code, text = shown(verdict)
    assert code == 1 and "        2 lost" in text


def test_a_verdict_has_few_examples_of_each_fault_and_counts_all() -> None:
    verdict = Verdict.of("lost", "doubled")
    assert verdict.good
    for number in range(9):
        verdict.count("lost", [f"{number} is lost"])
    verdict.count("doubled", [f"{number} is doubled" for number in range(9)])
    assert verdict.faults == {"lost": 9, "doubled": 9}
    assert [len([x for x in verdict.examples if x.endswith(what)]) for what in ("lost", "doubled")] == [5, 5]
    verdict.count("doubled", 3)
    assert verdict.faults["doubled"] == 12 and len(verdict.examples) == 10


def test_a_model_that_is_served_against_the_plan_is_told(tmp_path: Path) -> None:
    watch = Watch(tmp_path, {})
    for model, kind in ((DAMAGED, EventKind.SERVED), (CANCER_1, EventKind.REFUSED)):
        watch.served.events.append(
            ModelEvent(
                kind, model.data_type, "", model.version, "", 0, 0, reason="broken"[: 6 * (kind == "refused")]
            )
        )
    assert unplanned(watch) == [
        "cancer v1 was refused: broken",
        "wine v3 was served: it should not have been",
    ]


@pytest.mark.usefixtures("quick")
def test_as_long_as_something_happens_there_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, asked = itertools.count(), itertools.count()
    monkeypatch.setattr(running.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(running, "_SILENCE_S", 40)
    stage = Stage("one", (), lambda: next(asked) > 90, "no model serves")
    with pytest.raises(DemoError, match="no model serves"):
        shown(Verdict.of("lost"), stage)
    asked = itertools.count()
    changes = itertools.count()
    monkeypatch.setattr(Flow, "progress", lambda self: next(changes))
    assert shown(Verdict.of("lost"), stage)[0] == 0
