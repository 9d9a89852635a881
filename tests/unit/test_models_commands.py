"""`millrace models at`, `history`, `compare`, `alias` and `list`, by a registry that was told of things."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from schemas.lifecycle.experiments import ArmFigures
from schemas.results.records import CandidateStats, EventKind
from tests.registered import digest, event, experiment_event, quality, registered, stats
from udfs.stores.registry.model_records import Metric, RegisteredModel
from udfs.stores.registry.models import ModelRegistry

NOON = 1_795_867_200_000
HOUR = 3_600_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/r.db"
    known = ModelRegistry(url)
    for version, at in ((3, NOON), (4, NOON + HOUR)):
        known.put(registered(version, created=at, size=12_345))
        known.add_events("wine-serve", [event(EventKind.SERVED, at + 1000, version)])
    known.add_events("wine-serve", [event(EventKind.DECIDES, NOON, 1, name="plan")])
    refused = event(EventKind.REFUSED, NOON + 2 * HOUR, 5, step="digest", reason="of another content")
    known.add_events("wine-serve", [refused])
    known.add_statistics("wine-serve", [stats(NOON + 1000, NOON + HOUR, usage=1234, batches=4)])
    known.add_statistics("wine-serve", [stats(NOON + HOUR + 1000, NOON + 2 * HOUR, 4, usage=99, failures=1)])
    candidate = CandidateStats("wine", "forest", 4, digest("forest 4"), 0, NOON, NOON + 5, asked=7, wins=3)
    known.add_statistics("wine-race", [candidate])
    return url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("millrace.render._FILE_WIDTH", 80)

    def invoke(*arguments: object) -> str:
        done = CliRunner().invoke(app, ["models", *map(str, arguments), "--registry", url])
        assert done.exit_code == 0, done.output
        assert max(map(len, done.stdout.splitlines()), default=0) <= 80 or "--json" in arguments
        return done.output

    return invoke


def lines(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_of_a_time_that_is_to_come_only_so_much_is_known(run: Any) -> None:
    assert "2999-01-01 00:00:00 is still to come" in run("at", "2999-01-01")
    assert "still to come" not in run("at", "now")


def test_what_was_in_force_at_a_time(run: Any) -> None:
    first = run("at", NOON + HOUR)
    assert "forest v3" in first and "plan plan v1" in first and "forest v4" not in first
    shown = time.strftime("%m-%d %H:%M:%S", time.localtime((NOON + HOUR + 1000) / 1000))
    assert shown in first  # until when
    iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(NOON / 1000 + 3601))
    second = run("at", iso)
    assert "forest v4" in second and "forest v3" not in second
    assert "Nothing was in force" in run("at", NOON - 1)
    (found,) = [one for one in json.loads(run("at", NOON + HOUR, "--json")) if one["kind"] == "model"]
    assert (found["version"], found["until"], found["digest"]) == (3, NOON + HOUR + 1000, digest("forest 3"))
    assert found["subtasks"] == [0] and found["job"] == "wine-serve"


def test_aliases_move_and_are_shown_as_they_were(run: Any) -> None:
    assert run("alias", "forest", "champion", 3, "--by", "ada") == "forest: champion stands for v3\n"
    assert run("alias", "forest", "champion", "v3").endswith("as it did\n")
    assert run("alias", "forest", "challenger", 4).endswith("stands for v4\n")
    between = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= between:
        pass
    run("alias", "forest", "champion", "challenger", "--reason", "it is better")
    now = run("at", "now")
    assert "(challenger)" in now and "(champion)" in now
    history = run("history", "forest")
    assert "it is better" in history and "ada" in history
    listed = json.loads(run("list", "--json"))
    assert [one["aliases"] for one in listed] == [[], ["challenger", "champion"]]
    assert "champion" in run("list")
    run("alias", "forest", "champion", "none")
    assert [c["version"] for c in json.loads(run("history", "forest", "--json"))["aliases"]] == [3, 4, 4, 0]


def test_the_history_of_a_model(run: Any) -> None:
    told = lines(run("history", "forest"))
    served = [line for line in told if "wine-serve" in line]
    assert [line[0] for line in served] == ["v3", "v4", "v5"]
    assert served[0][-2:] == ["replaced", "1,234"] and served[1][-2:] == ["-", "99"]
    assert "refused" in served[2]
    found = json.loads(run("history", "forest", "--json"))
    assert [(one["version"], one["records"], one["failures"]) for one in found["served"]] == [
        (3, 1234, 0),
        (4, 99, 1),
    ]
    assert [m["publisher"] for m in found["published"]] == ["ada", "ada"]
    assert found["events"][0]["reason"] == "of another content"


def test_what_experiments_did_to_a_model(run: Any, url: str) -> None:
    known, plan = ModelRegistry(url), {"plan": ArmFigures()}
    started = experiment_event("started", NOON, share=0.01)
    ended = experiment_event("rolled_back", NOON + HOUR, evidence="harm: e^3.7")
    replaced = experiment_event("promoted", NOON + 2 * HOUR, experiment="w5", arms=plan, replaced="forest")
    known.add_experiments([ended, started, replaced])
    known.close()
    told = [line for line in lines(run("history", "forest")) if {"w4", "w5"}.intersection(line)]
    assert [(line[0], line[2]) for line in told] == [
        ("v3", "old"), ("v4", "new"), ("v3", "old"), ("v4", "new"), ("-", "replaced")
    ]  # fmt: skip
    assert told[0][5:] == ["started", "1.00%", "treated"] and told[3][5:7] == ["rolled", "back"]
    assert "harm:" in told[3] and "promoted" in told[4]
    found = json.loads(run("history", "forest", "--json"))["experiments"]
    assert [one["kind"] for one in found] == ["started", "rolled_back", "promoted"]


def test_two_versions_side_by_side(run: Any) -> None:
    shown = run("compare", "forest", 3, 4)
    rows = {line[0]: line[1:] for line in lines(shown) if line}
    assert rows["accuracy"] == ["on", "holdout", "0.53", "0.54", "+0.01"]
    assert rows["records"] == ["1,234", "99", "-1135"]
    assert rows["wins"] == ["-", "3", "-"]
    assert rows["publisher"] == ["ada", "ada", "same"] and rows["digest"][-1] == "other"
    one, other = json.loads(run("compare", "forest", 3, "v4", "--json"))
    assert (one["version"], other["served"]["wins"]) == (3, 3)


def test_how_good_two_versions_were_since_the_start(run: Any, url: str) -> None:
    told = [
        quality(9, 30, 10, plan="plan", plan_version=1),
        quality(8, 30, 30, plan="plan", plan_version=2),  # of the same version, under the next plan
        quality(9, 90, 10, 4),
        quality(9, 8, 2, 4, experiment="w4", arm="new"),
        quality(9, 1, 3, 4, model="", candidate="forest"),
    ]
    known = ModelRegistry(url)
    known.add_quality(told)
    known.close()
    rows = {" ".join(line[:-3]): line[-3:] for line in lines(run("compare", "forest", 3, 4)) if line}
    assert rows["accuracy live"] == ["0.6", "0.9", "+0.3"]
    assert rows["outcomes live"] == ["100", "100", "same"] and rows["coverage live"] == ["0.5", "0.5", "same"]
    assert rows["accuracy in w4, new"] == ["-", "0.8", "-"]
    assert rows["accuracy as a candidate"] == ["-", "0.25", "-"]
    assert "brier in w4, new" not in rows
    one, other = json.loads(run("compare", "forest", 3, 4, "--json"))
    assert [q["figures"]["outcomes"] for q in one["quality"]] == [100.0]
    assert [(q["experiment"], q["arm"], q["candidate"]) for q in other["quality"]] == [
        ("", "", False), ("", "", True), ("w4", "new", False)
    ]  # fmt: skip


def test_the_list_of_models(run: Any, url: str) -> None:
    ModelRegistry(url).put(
        RegisteredModel("tea", "deep", 1_795_233_618_750, "ff", metrics=(Metric("auc", 0.9),))
    )
    shown = run("list")
    assert "deep (tea)" in shown and "auc 0.9" in shown and "forest (wine)" in shown
    assert "forest" not in run("list", "--name", "deep")
    assert [m["name"] for m in json.loads(run("list", "--data-type", "tea", "--json"))] == ["deep"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("history", "none"), "knows no model 'none'"),
        (("compare", "forest", "3", "9"), "no version 9 of model 'forest'"),
        (("alias", "forest", "champion", "9"), "no version 9 of model 'forest'"),
        (("alias", "forest", "7", "3"), "'7' is no alias"),
        (("alias", "forest", "v4", "3"), "'v4' is no alias"),
        (("alias", "forest", " ", "3"), "' ' is no alias: it has spaces around it"),
        (("alias", "forest", "cham\npion", "3"), "signs that nobody sees"),
        (("compare", "forest", "\N{SUPERSCRIPT TWO}", "3"), "is no alias of model 'forest'"),
        (("at", "noon"), "is no time"),
        (("at", "9" * 20), "is no time"),
        (("at", "\N{SUPERSCRIPT TWO}" * 12), "is no time"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(url: str, arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["models", *arguments, "--registry", url])
    assert done.exit_code in (1, 2) and said in " ".join(done.stderr.split())


def test_without_a_registry_the_command_says_how_one_is_made(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["models", "list", "--registry", f"sqlite:///{tmp_path}/none.db"])
    assert done.exit_code == 1 and "there is no registry" in done.stderr
    assert not (tmp_path / "none.db").exists()
