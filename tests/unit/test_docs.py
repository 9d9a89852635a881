"""What the documents say is true of the code: settings, options, scripts and links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import orjson
import pytest
import typer

from jobs.settings.experiment import ExperimentSettings
from jobs.settings.outcomes import JudgedType, OutcomesSettings
from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from jobs.settings.speculate import SpeculateSettings
from jobs.settings.track import TrackSettings
from jobs.settings.watch import WatchSettings
from millrace.cli import app
from millrace.inputs_file import read_inputs
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import read_plan
from schemas.results.results import read_result

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
JOBS = {
    "jobs/serve.py": ServeSettings,
    "jobs/serve_partitioned.py": ServeSettings,
    "jobs/speculate.py": SpeculateSettings,
    "jobs/experiment.py": ExperimentSettings,
    "jobs/watch.py": WatchSettings,
    "jobs/outcomes.py": OutcomesSettings,
    "jobs/track.py": TrackSettings,
}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(language: str) -> list[tuple[str, str]]:
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [(d.name, text) for d in DOCUMENTS for text in fence.findall(d.read_text())]


def lines() -> list[str]:
    joined = "\n".join(text for _, text in blocks("bash")).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in joined.splitlines() if line.split("#")[0].strip()]


def test_there_is_something_to_check() -> None:
    assert blocks("toml") and blocks("json") and len(lines()) > 10


@pytest.mark.parametrize(("name", "text"), blocks("toml"))
def test_settings_files_are_valid(name: str, text: str) -> None:
    assert ServeSettings(**tomllib.loads(text)).name


@pytest.mark.parametrize(("name", "text"), blocks("toml watch"))
def test_settings_of_watching_are_valid(name: str, text: str) -> None:
    assert WatchSettings(**tomllib.loads(text)).counting("results", 1).rules


@pytest.mark.parametrize(("name", "text"), blocks("toml outcomes"))
def test_outcomes_are_read_as_the_page_says(name: str, text: str) -> None:
    settings = OutcomesSettings(**tomllib.loads(text), folder={"root": "somewhere"})
    assert settings.flink["state.backend.type"] == "rocksdb"
    assert settings.flink["state.backend.rocksdb.use-bloom-filter"] == "true"
    messages = [example.encode() for _, example in blocks("json outcome")]
    found = settings.join().reader(128, 1).outcomes(MicroBatch("o", "o", messages, [0], [0], [5]))
    assert not found.dead
    (((_, came),),) = next(iter(found.deliveries.values())).outcomes.values()
    assert (came.value, came.time, came.metrics) == (1.0, 5, {"revenue": 12.5})


@pytest.mark.parametrize(("name", "text"), blocks("toml labels"))
def test_labels_are_read_as_the_page_says(name: str, text: str) -> None:
    (judged,) = tomllib.loads(text)["data_types"].values()
    judging = JudgedType.model_validate(judged).judging()
    assert judging.kept_as == "labels" and judging.score_of({judging.score: "virginica"}) == 2.0


@pytest.mark.parametrize(("name", "text"), blocks("toml classes"))
def test_classes_are_read_as_the_page_says(name: str, text: str) -> None:
    settings = OutcomesSettings(**tomllib.loads(text), folder={"root": "somewhere"})
    judging = settings.join().judged["iris"]
    assert judging.score_of({"probabilities": [0.25, 0.5, 0.25]}) == 0.5
    assert (judging.label, judging.outcome_of("virginica")) == ("species", 2.0)


@pytest.mark.parametrize(("name", "text"), blocks("json"))
def test_results_look_like_that(name: str, text: str) -> None:
    result = read_result(text.encode())
    assert result.outcome == "scored" and orjson.dumps(result.scores)


@pytest.mark.parametrize(("name", "text"), blocks("json plan"))
def test_plans_can_be_followed(name: str, text: str) -> None:
    assert read_plan(text).policy


@pytest.mark.parametrize("line", [x for x in lines() if x.startswith("millrace ")])
def test_options_of_the_command_exist(line: str) -> None:
    words = line.split()
    command = COMMANDS[words[1]]
    command = getattr(command, "commands", {}).get(words[2], command)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[2:] if word.startswith("--")} <= known


@pytest.mark.parametrize("line", [x for x in lines() if "-py jobs/" in x])
def test_flags_of_jobs_exist(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, *flags = re.findall(r"'[^']*'|\S+", line.split("-py ", 1)[1])
    assert (ROOT / job).is_file()
    flags = [flag.strip("'") for flag in flags]
    if "--config" in flags:
        file = flags[flags.index("--config") + 1]
        kind = "toml" if file == "serve.toml" else f"toml {file.removesuffix('.toml')}"
        (tmp_path / file).write_text(next(text for _, text in blocks(kind)))
        monkeypatch.chdir(tmp_path)
    assert settings_of(JOBS[job], flags).kafka is not None


@pytest.mark.parametrize("line", [x for x in lines() if x.startswith(("scripts/", "deploy/"))])
def test_scripts_exist(line: str) -> None:
    script = ROOT / line.split(maxsplit=1)[0]
    assert script.is_file() and script.stat().st_mode & 0o111


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_declarations_of_inputs_are_ones(tmp_path: Path) -> None:
    declared = blocks("toml inputs")
    assert declared
    for _, text in declared:
        path = tmp_path / "inputs.toml"
        path.write_text(text)
        said = read_inputs(path)
        assert said.inputs and said.readings
