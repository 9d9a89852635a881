"""The demo from start to end on the mini cluster, and what it leaves behind when it is interrupted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devservices.process import ROOT, environment, wait_until
from devservices.redis import Redis


class Run:
    """`python -m demo` in a session of its own, its output in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "output"
        # The mark is in the environment of all that the demo starts, so that nothing can hide.
        self._mark = f"MILLRACE_DEMO_TEST={folder}"
        name, value = self._mark.split("=", 1)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo", *arguments],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(), name: value, "TMPDIR": str(folder)},
                start_new_session=True,
            )

    def alive(self) -> dict[int, str]:
        """Id and name of every process, the demo's own included, that carries the mark and is no zombie."""
        name, value = self._mark.split("=", 1)
        found = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = process.name()
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.end()


def test_the_demo_ends_well_and_says_so(tmp_path: Path, runs: list[Run]) -> None:
    work = tmp_path / "work"
    run = Run(tmp_path, "--records", "2000", "--keep", str(work))
    runs.append(run)
    code = run.process.wait(300)
    text = run.output.read_text()
    assert code == 0, text
    assert re.search(r"^2,000 records written", text, re.M)
    for finding in ("lost", "doubled", "stamped with a version that did not score them"):
        assert re.search(rf"^ +0 {finding}$", text, re.M), text
    for served in ("wine v1", "wine v2", "wine v4", "cancer v1", "cancer v2"):
        assert f"{served} is served" in text
    assert "wine v3 is refused at step digest" in text
    assert (work / "results").is_dir()
    wait_until(lambda: not run.alive(), 10, lambda: str(run.alive()))


def test_the_race_ends_well_and_says_so(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(tmp_path, "speculate", "--records", "2000", "--keep", str(tmp_path / "work"))
    runs.append(run)
    code = run.process.wait(300)
    text = run.output.read_text()
    assert code == 0, text
    assert re.search(r"^2,000 records written", text, re.M)
    for finding in (
        "lost",
        "doubled",
        "decided otherwise than the pure functions decide by the same answers",
    ):
        assert re.search(rf"^ +0 {finding}$", text, re.M), text
    for event in ("plan v1 decides", "deep served", "plan v2 decides", "deep withdrawn"):
        assert event in text
    wait_until(lambda: not run.alive(), 10, lambda: str(run.alive()))


@pytest.mark.skipif(not Redis.available(), reason="no redis-server on PATH")
def test_the_circle_of_features_ends_well_and_says_so(tmp_path: Path, runs: list[Run]) -> None:
    work = tmp_path / "work"
    run = Run(tmp_path, "features", "--records", "3000", "--keep", str(work))
    runs.append(run)
    code = run.process.wait(400)
    text = run.output.read_text()
    assert code == 0, text
    assert "house_price v1 served" in text
    findings = re.findall(r"^ +(\d+) [a-z]", text, re.M)
    assert findings == ["0"] * 10, text
    requests = re.search(r"^300 requests: (\d+) completed, (\d+) expired;", text, re.M)
    assert requests is not None, text
    completed, expired = map(int, requests.groups())
    assert completed + expired == 300 and expired > 0
    by = dict(re.findall(r"^ *(offline|online): (.*)$", text, re.M))
    assert by["offline"] == by["online"]
    assert 0.9 < float(by["online"].rsplit(" ", 1)[1]) < 1
    assert len(list((work / "scoring" / "results").glob("*"))) >= 1
    wait_until(lambda: not run.alive(), 10, lambda: str(run.alive()))


@pytest.mark.parametrize(
    ("demo", "whole_group"),
    [("serve", True), ("serve", False), ("features", True)],
    ids=["terminal", "process", "features"],
)
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, runs: list[Run], demo: str, whole_group: bool) -> None:
    if demo == "features" and not Redis.available():
        pytest.skip("no redis-server on PATH")
    run = Run(tmp_path, demo)
    runs.append(run)

    def java_runs() -> bool:
        assert run.process.poll() is None, run.output.read_text()
        return "java" in run.alive().values()

    wait_until(java_runs, 120, run.output.read_text)
    if whole_group:
        os.killpg(run.process.pid, signal.SIGINT)
    else:
        run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 130, run.output.read_text()
    # What was killed last may still be going when the demo has ended.
    wait_until(lambda: not run.alive(), 10, lambda: str(run.alive()))
    assert not list(tmp_path.glob("millrace-*"))
    assert "Traceback" not in run.output.read_text()


def test_a_killed_demo_takes_its_processes_with_it(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(tmp_path)
    runs.append(run)
    wait_until(lambda: "java" in run.alive().values(), 120, run.output.read_text)
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not run.alive(), 30, lambda: str(run.alive()))
