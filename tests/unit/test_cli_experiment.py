"""`millrace experiment`: what is sent, what a dry run says, and what people see of experiments."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from millrace.cli import app
from millrace.experiment_file import load_experiment
from millrace.experiment_replay import Reading, controller_of
from millrace.model_stream import ModelStream
from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent, write_event
from schemas.plans.plan import Only, Plan, write_plan
from tests.experiment_evidence import DECLARED
from tests.signing_keys import KEY, entry, keys_file, signer
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.assignment import in_population, treated
from udfs.lifecycle.experiments.declaration import Arm
from udfs.lifecycle.experiments.orders import Order, read_order, write_order
from udfs.lifecycle.experiments.running import read_running
from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, build, parse
from udfs.models.signing.gate import SigningSpec
from udfs.models.signing.signer import new_key

TOML = """
name = "wine-v4"
data_type = "wine"
entity = "customer"
ramp = [0.1, 0.5, 1.0]
step_entities = 20
[arms.control]
model = "old"
version = 3
[arms.treatment]
model = "new"
version = 4
[primary]
name = "correct"
[[guardrails]]
name = "latency"
kind = "quantile"
better = "lower"
q = 0.9
tolerance = 5.0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "wine.toml"
    path.write_text(TOML)
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["experiment", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def orders(folder: Path) -> list[Order]:
    found = [parse(path.read_bytes()) for path in sorted(folder.glob("*.model"))]
    assert {(one.operation, one.name, one.data_type) for one in found} == {(EXPERIMENT, "wine-v4", "wine")}
    return [read_order(one.experiment) for one in found]


def test_orders_travel_on_the_model_stream(file, tmp_path):
    folder = tmp_path / "models"
    said = run("start", file, "--to-folder", folder)
    assert "Sent: wine-v4 for wine" in said and "millrace experiment status wine-v4" in said
    run("stop", "wine-v4", "--data-type", "wine", "--reason", "holidays", "--to-folder", folder)
    run("promote", "wine-v4", "--data-type", "wine", "--to-folder", folder)
    run("rollback", "wine-v4", "--data-type", "wine", "--to-folder", folder)
    assert orders(folder) == [
        Order("start", DECLARED),
        Order("stop", reason="holidays"),
        Order("promote"),
        Order("rollback"),
    ]


def test_a_reason_that_the_controller_would_refuse_is_not_sent(tmp_path):
    arguments = ["stop", "wine-v4", "--data-type", "wine", "--to-folder", str(tmp_path / "models")]
    done = CliRunner().invoke(app, ["experiment", *arguments, "--reason", "r" * 1001])
    assert done.exit_code and "the reason has 1,001 characters" in done.output
    assert not list(tmp_path.glob("models/*"))


def test_an_experiment_may_be_python(tmp_path):
    path = tmp_path / "wine.py"
    arms = 'arms={"control": Arm("old", 3), "treatment": Arm("new", 4)}'
    more = 'Metric("latency", "quantile", "lower", q=0.9, tolerance=5.0)'
    path.write_text(
        "from millrace.experiments import Arm, Experiment, Metric\n"
        f'EXPERIMENT = Experiment("wine-v4", "wine", "customer", {arms}, primary=Metric("correct"),\n'
        f"    guardrails=({more},), ramp=(0.1, 0.5, 1.0), step_entities=20)\n"
    )
    run("start", path, "--to-folder", tmp_path / "models")
    assert orders(tmp_path / "models") == [Order("start", DECLARED)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", TOML.replace('"customer"', '""'), "needs its entity"),
        ("a.toml", "name", "not TOML"),
        ("a.json", "{}", "a .toml or a .py file"),
        ("a.py", "EXPERIMENT = 1", "EXPERIMENT is not in it"),
        ("a.py", "1 / 0", "ZeroDivisionError"),
        ("a.toml", TOML.replace('model = "new"\nversion = 4', 'shadow = "old"'), "which is a shadow"),
        (
            "a.toml",
            f"promote_if_not_worse = true\nsmallest = 1.0\n{TOML}",
            "smallest is 1, and 'correct' lies from 0 to 1",
        ),
        (
            "a.toml",
            TOML.replace('"correct"', '"correct"\ntolerance = 5.0'),
            "tolerance is 5, and 'correct'",
        ),
        ("a.toml", f'alias = "v4"\n{TOML}', "'v4' is no alias"),
        ("a.toml", f"end = 2024-01-01T00:00:00Z\n{TOML}", "which is over: it would be rolled back at once"),
    ],
)
def test_what_is_no_experiment_is_refused_with_its_file(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    done = CliRunner().invoke(app, ["experiment", "start", str(path), "--to-folder", str(tmp_path / "m")])
    assert done.exit_code == 1 and said in done.output and name in done.output
    assert not (tmp_path / "m").exists()


def test_a_metric_may_be_narrower_than_a_difference_that_decides_nothing(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(TOML.replace('"correct"', '"correct"\nhigh = 0.005'))
    assert load_experiment(path).primary.high == 0.005 < load_experiment(path).smallest


def test_a_dry_run_counts_yesterday_s_entities_and_sends_nothing(file, tmp_path):
    results = tmp_path / "results.jsonl"
    stamp = {"data_type": "wine", "outcome": "scored", "model": "old", "version": 3, "digest": "", "ms": 1.0}
    stamp |= {"scores": {}, "source": "s", "partition": 0}
    lines = [
        {"customer": f"c{k % 500}", "millrace": {**stamp, "offset": k, "event_time": 1000 * k}}
        for k in range(1000)
    ]
    lines += [{"millrace": {**stamp, "offset": 0, "event_time": 5}}]
    lines += [{"customer": "x", "millrace": {**stamp, "data_type": "tea", "offset": 0, "event_time": 5}}]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = run("start", file, "--dry-run", "--results", results, "--to-folder", tmp_path / "m")
    assert "1,001 records, 1 without 'customer', 500 entities" in said and not (tmp_path / "m").exists()
    rows = [line.split() for line in said.splitlines() if " of 3 " in line]
    entities = [b"c%d" % k for k in range(500)]
    counts = [int(treated(DECLARED, entities, step).sum()) for step in range(3)]
    assert [row[3] for row in rows] == ["5.00%", "25.00%", "50.00%"]
    assert [(int(row[4]), int(row[5])) for row in rows] == [(n, 500 - n) for n in counts]
    assert " ".join(rows[0][6:]) == "13 minutes"  # 20 of 5 %, an entity every two seconds
    assert '"candidates": [\n      "new"' in said


def test_a_dry_run_of_a_population_counts_its_entities(file, tmp_path):
    file.write_text("population = [0.2, 0.6]\n" + TOML)
    results = tmp_path / "results.jsonl"
    stamp = {"data_type": "wine", "outcome": "scored", "model": "old", "version": 3, "digest": "", "ms": 1.0}
    stamp |= {"scores": {}, "source": "s", "partition": 0, "event_time": 5}
    lines = [{"customer": f"c{k}", "millrace": {**stamp, "offset": k}} for k in range(500)]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = run("start", file, "--dry-run", "--results", results)
    declared = msgspec.structs.replace(DECLARED, population=(0.2, 0.6))
    inside = int(in_population(declared, [b"c%d" % k for k in range(500)]).sum())
    assert f"{inside} entities, {500 - inside} outside of its population" in said
    folder = tmp_path / "models"
    run("start", file, "--to-folder", folder)
    assert orders(folder) == [Order("start", declared)]
    said = run("stop", "wine-v4", "--data-type", "wine", "--dry-run", "--to-folder", folder)
    assert "for entities in no other experiment of wine:" in said


def test_a_dry_run_of_an_end_shows_the_plan(file, tmp_path):
    folder = tmp_path / "models"
    run("start", file, "--to-folder", folder)
    for action, model in (("promote", "new"), ("rollback", "old"), ("stop", "old")):
        said = run(action, "wine-v4", "--data-type", "wine", "--dry-run", "--to-folder", folder)
        assert json.loads(said.split(":\n", 1)[1])["route"]["candidates"] == [model]
        assert f"{action} wine-v4 would put in force for wine:" in said
    assert len(orders(folder)) == 1
    done = CliRunner().invoke(
        app, ["experiment", "stop", "x", "--data-type", "wine", "--dry-run", "--to-folder", str(folder)]
    )
    assert done.exit_code == 1 and "there is no experiment 'x' for 'wine'" in done.output


def declared_file(folder: Path, treatment: str, name: str = "wine-v4", more: str = "") -> Path:
    path = folder / f"{name}-{treatment}.toml"
    path.write_text(more + TOML.replace('"new"', f'"{treatment}"').replace('"wine-v4"', f'"{name}"'))
    return path


def dry_run(action: str, folder: Path, name: str = "wine-v4", *more: object) -> str:
    """The model that would be in force, or why not."""
    options = ["--data-type", "wine", "--dry-run", "--to-folder", str(folder), *map(str, more)]
    done = CliRunner().invoke(app, ["experiment", action, name, *options])
    if done.exit_code:
        return done.output
    plan = json.loads(done.output.split(":\n", 1)[1])
    assert "experiments" not in plan  # of others: it is about records in none
    (model,) = plan["route"]["candidates"]
    return model


def test_a_dry_run_of_an_end_is_about_the_experiment_that_runs(tmp_path):
    """Not about a start that was refused, whether it came before or after the one that was not."""
    folder = tmp_path / "models"
    about = ("--data-type", "wine", "--to-folder", folder)
    run("start", declared_file(tmp_path, "new", "other"), "--to-folder", folder)
    run("start", declared_file(tmp_path, "second"), "--to-folder", folder)  # refused: another one runs
    assert "no experiment 'wine-v4' for 'wine'" in dry_run("promote", folder)
    run("stop", "other", *about)
    run("start", declared_file(tmp_path, "third"), "--to-folder", folder)
    assert dry_run("promote", folder) == "third"
    run("start", declared_file(tmp_path, "fourth"), "--to-folder", folder)  # refused: there was one
    (folder / "0-none.model").write_bytes(b"no descriptor")
    assert dry_run("promote", folder) == "third" and dry_run("rollback", folder) == "old"
    assert dry_run("stop", folder) == "old"
    run("rollback", "wine-v4", *about)
    assert "'wine-v4' has ended: it is rolled back" in dry_run("promote", folder)


def test_a_dry_run_of_an_end_knows_the_plans_of_the_controller(tmp_path):
    folder = tmp_path / "models"
    run("start", declared_file(tmp_path, "new"), "--to-folder", folder)
    start = parse(next(folder.glob("*.model")).read_bytes())
    promoted = write_plan(Plan(route=Only(("new",)))).decode()
    created = start.created_ms + 1
    more = {"data_type": "wine", "name": "wine-v4", "version": start.version + 1, "created_ms": created}
    # a file of the controller's, whose name says nothing of its order
    (folder / "plans-1.model").write_bytes(build(operation=DECIDE, plan=promoted, **more))
    assert "'wine-v4' has ended: it is promoted" in dry_run("rollback", folder)
    newer = declared_file(tmp_path, "third", "next").read_text().replace('"old"\nversion = 3', '"new"')
    (tmp_path / "next.toml").write_text(newer)
    run("start", tmp_path / "next.toml", "--to-folder", folder)
    assert dry_run("rollback", folder, "next") == "new" and dry_run("promote", folder, "next") == "third"


def test_a_dry_run_of_an_end_knows_what_was_promoted_meanwhile(tmp_path):
    folder = tmp_path / "models"
    for name, treatment, part in (("a", "new", "[0.0, 0.5]"), ("b", "third", "[0.5, 0.8]")):
        file = declared_file(tmp_path, treatment, name, f"population = {part}\n")
        run("start", file, "--to-folder", folder)
    assert dry_run("rollback", folder, "b") == "old"
    run("promote", "a", "--data-type", "wine", "--to-folder", folder)
    assert dry_run("rollback", folder, "b") == "new"


def test_a_dry_run_of_an_end_reads_a_topic_as_it_was_written(file, monkeypatch):
    started = replace(DECLARED, arms={**DECLARED.arms, "treatment": Arm("third")}), DECLARED
    orders = [write_order(Order("start", one)) for one in started]
    more = {"data_type": "wine", "name": "wine-v4", "operation": EXPERIMENT}
    messages = [(None, None), (None, b"no descriptor")]
    messages += [(b"k", build(version=k + 1, experiment=order, **more)) for k, order in enumerate(orders)]
    monkeypatch.setattr("millrace.kafka_stream.to_end", lambda *_: iter(messages))
    said = run("promote", "wine-v4", "--data-type", "wine", "--dry-run", "--bootstrap", "nowhere:9092")
    assert json.loads(said.split(":\n", 1)[1])["route"]["candidates"] == ["third"]


def test_a_dry_run_of_an_end_takes_what_the_controller_takes_for_its_signature(tmp_path):
    folder, key = tmp_path / "models", tmp_path / "key.pem"
    private, public = new_key()
    key.write_bytes(private)
    terms = 'data_types = ["wine"]\nmay = ["decide"]'
    (tmp_path / "keys.toml").write_text(f'[keys.me]\n{terms}\npublic = """\n{public.decode()}"""\n')
    wanted = ("--keys", tmp_path / "keys.toml")
    run("start", declared_file(tmp_path, "new"), "--to-folder", folder)
    assert dry_run("promote", folder) == "new"
    assert "no experiment 'wine-v4' for 'wine'" in dry_run("promote", folder, "wine-v4", *wanted)
    signed = ("--sign", key, "--audience", "millrace-experiment", "--valid-days", 0.001)
    run("start", declared_file(tmp_path, "third"), "--to-folder", folder, *signed)
    assert dry_run("promote", folder, "wine-v4", *wanted) == "third"
    other = ("--controller", "another")
    assert "no experiment 'wine-v4'" in dry_run("promote", folder, "wine-v4", *wanted, *other)


def test_a_signature_was_in_time_if_it_was_when_its_message_was_made(tmp_path, monkeypatch):
    """The controller has taken it then; what came once more it has not."""
    day = 86_400_000
    ticks = itertools.count(50 * day * 1_000_000, 1_000)
    signs, keys = signer(audience=("c",), now=lambda: next(ticks)), keys_file(tmp_path, entry("me", KEY))
    about = {"data_type": "wine", "name": "wine-v4", "version": 1, "created_ms": 50 * day}
    plan = write_plan(plan_of_step(DECLARED, 0)).decode()
    withdrawal, *others = (
        signs.sign(build(**about, **more))
        for more in (
            {"operation": WITHDRAW},
            {"operation": EXPERIMENT, "experiment": write_order(Order("start", DECLARED))},
            {"operation": DECIDE, "plan": plan},
        )
    )
    messages = [(b"k", one) for one in (withdrawal, *others, withdrawal)]
    monkeypatch.setattr("millrace.kafka_stream.to_end", lambda *_: iter(messages))
    stream = ModelStream(bootstrap="nowhere:9092")
    controller = controller_of(stream, Reading(SigningSpec(True, str(keys), "c")))
    assert read_running(controller.log("wine-v4")).runs
    assert not controller_of(stream, Reading(SigningSpec(True, str(keys), "d"))).changed()


def test_a_dry_run_of_an_end_takes_versions_as_the_controller_does(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    more = {"data_type": "wine", "operation": DECIDE, "plan": "{}"}
    (folder / "0.model").write_bytes(build(name="vote", version=1, created_ms=1, **more))
    run("start", declared_file(tmp_path, "new"), "--to-folder", folder)
    start = parse(next(one for one in folder.glob("*.model") if one.name != "0.model").read_bytes())
    own = write_plan(plan_of_step(DECLARED, 0)).decode()
    at = start.created_ms
    (folder / "1.model").write_bytes(
        build(**more | {"name": "wine-v4", "version": start.version, "created_ms": at + 1, "plan": own})
    )
    (folder / "2.model").write_bytes(build(name="vote", version=9, created_ms=at + 2, **more))
    assert "'wine-v4' has ended: it is stopped" in dry_run("promote", folder)
    assert dry_run("promote", folder, "wine-v4", "--version-jump", 5) == "new"


def test_of_several_treatments_one_is_named(tmp_path):
    folder, path = tmp_path / "models", tmp_path / "three.toml"
    head = (
        'name = "wine-v4"\ndata_type = "wine"\nentity = "customer"\n[sampling]\n[primary]\nname = "correct"\n'
    )
    path.write_text(head + "".join(f'[arms.{name}]\nmodel = "{name}"\n' for name in ("control", "a", "b")))
    said = run("start", path, "--dry-run")
    assert "1 of 1  66.67%" in said and "promoted, arm b would put in force" in said
    run("start", path, "--to-folder", folder)
    about = ("wine-v4", "--data-type", "wine", "--to-folder", folder)
    said = run("promote", *about, "--arm", "b", "--dry-run")
    assert json.loads(said.split(":\n", 1)[1])["route"]["candidates"] == ["b"]
    done = CliRunner().invoke(app, ["experiment", "promote", *map(str, about), "--dry-run"])
    assert done.exit_code == 1 and "one of a, b" in done.output
    run("promote", *about, "--arm", "b")
    assert orders(folder)[-1] == Order("promote", arm="b")


def event(kind: str, at: int, **more) -> ExperimentEvent:
    arms = {"control": ArmFigures(90, 0.8, "old", 3), "treatment": ArmFigures(10, 0.5, "new", 4)}
    more = {"experiment": "wine-v4", "evidence": "for harm", **more}
    return ExperimentEvent(
        kind=kind, data_type="wine", at=at, steps=3, share=0.05, entities=100, arms=arms,
        control="control", treatment="treatment", **more,
    )  # fmt: skip


def test_status_is_the_last_word_and_history_all_decisions(tmp_path):
    events = [
        event("started", 1000),
        event("progress", 2000),
        event("rolled_back", 3000),
        event("started", 500, experiment="other", population=(0.5, 0.75)),
        event("refused", 4000, reason="give this one another name"),
    ]
    lines = [write_event(one) for one in events]
    (tmp_path / "part-0").write_bytes(b"\n".join([*lines, b"no event"]) + b"\n")
    first, second = run("status", "--from-folder", tmp_path).split("\n\n")
    assert "rolled back" in first and "old v3 0.8 of 90" in first and "5.00% of" not in first
    assert "started" in second and "5.00% of 25.00%" in second
    told = run("history", "wine-v4", "--from-folder", tmp_path).split("\n\n")
    assert [word in one for word, one in zip(("started", "rolled back", "another name"), told, strict=True)]
    found = run("history", "--from-folder", tmp_path, "--json").splitlines()
    assert [json.loads(line)["at"] for line in found] == [500, 1000, 3000, 4000]
    for more in ((), ("--json",)):
        arguments = ["experiment", "status", "none", "--from-folder", str(tmp_path), *more]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code != 0 and "there is no experiment 'none'" in done.output


def test_status_says_what_was_refused_beside_what_the_experiment_said_last(tmp_path):
    """Who orders under a name that is taken would else take the one that runs for the one just ordered."""
    events = [
        event("started", 1000),
        event("refused", 2000, reason="an older one"),
        event("refused", 4000, reason="give this one another name"),
        event("progress", 3000),
        event("progress", 5000, evidence="less of it"),
        event("progress", 5000, evidence="more of it"),
        event("refused", 4500, experiment="x", reason="there is no experiment 'x'"),
        event("refused", 4600, experiment="", reason="this is no EvidenceBatch"),
        event("refused", 6000, experiment="z", reason="not yet"),
        event("rolled_back", 8000, experiment="z", evidence="harm"),
        event("started", 5500, experiment="z"),
        event("stopped", 8000, experiment="y"),
        event("refused", 8000, experiment="y", reason="'y' has ended: it is stopped"),
    ]
    (tmp_path / "part-0").write_bytes(b"".join(write_event(one) + b"\n" for one in events))
    first, second, third, fourth = run("status", "--from-folder", tmp_path).split("\n\n")
    assert "progress" in first and "more of it" in first and "an older one" not in first
    assert first.splitlines()[-1].startswith("refused") and "another name" in first.splitlines()[-1]
    assert "rolled back" in second and "not yet" not in second
    assert "stopped" in third and "it is stopped" in third
    assert "refused" in fourth and "there is no experiment 'x'" in fourth
    found = [json.loads(line) for line in run("status", "--from-folder", tmp_path, "--json").splitlines()]
    told = [(one["experiment"], one["kind"]) for one in found]
    assert told == [("wine-v4", "progress"), ("z", "rolled_back"), ("y", "stopped"), ("x", "refused")]


@pytest.mark.parametrize("command", ["status", "history"])
def test_numbers_of_two_that_run_are_whole_in_a_terminal_of_80_columns(tmp_path, command):
    arms = {
        "control": ArmFigures(1_123_456, 0.81234, "wine-gradient-boosted", 20261129, 0.75),
        "treatment": ArmFigures(112_345, 0.84321, "wine-network", 20261130, 0.25),
    }
    said = "correct: betting evidence e^-1.23 for harm, e^12.34 for gain, 1234567 entities"
    names = ["wine-" + "n" * 120, "prices-higher"]
    parts = [(0.0, 0.5), (0.5, 0.8125)]
    known = {"arms": arms, "evidence": said, "entities": 1_235_801}
    events = [
        replace(event("step", 1_764_409_000_000), experiment=name, population=part, **known)
        for name, part in zip(names, parts, strict=True)
    ]
    (tmp_path / "part-0").write_bytes(b"".join(write_event(one) + b"\n" for one in events))
    narrow = {"FORCE_COLOR": "1", "COLUMNS": "80"}
    told = CliRunner().invoke(app, ["experiment", command, "--from-folder", str(tmp_path)], env=narrow).output
    assert max(map(len, told.splitlines())) == 80  # the long name is folded, so it was a terminal's width
    words = told.replace(",\n", "\n").split()
    for number in ("1,123,456", "112,345", "0.8123", "0.8432", "1,235,801", "5.00%", "e^12.34", "1234567"):
        assert words.count(number) == 2, number
    assert words.count("50.00%") == words.count("31.25%") == 1


def test_a_declaration_travels_whole():
    assert msgspec.to_builtins(DECLARED)["arms"]["treatment"]["version"] == 4
