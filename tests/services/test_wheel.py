"""What is installed is what was written: the wheel, in a fresh environment beside the checkout, serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from fresh_environment import FreshEnvironment

from devservices.process import ROOT
from examples.publish_model import MODEL
from millrace.cli import app
from millrace.plans import MeanAnswer, Plan, write_plan
from schemas.results.records import EventKind, ModelEvent, Outcome, decode
from schemas.results.results import Identity, Stamp, read_result, write_results
from udfs.io.folder_files import visible_files

COMMANDS = [str(command.name) for command in app.registered_commands]
HELP = """
import json, sys
from typer.testing import CliRunner
from millrace.cli import app
told = {name: CliRunner().invoke(app, [name, "--help"], prog_name="millrace") for name in sys.argv[1:]}
print(json.dumps({name: (one.exit_code, f"{one.output}{one.exception or ''}") for name, one in told.items()}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "scripts" / "package"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = target.glob("*.whl")
    assert len(list(target.glob("*.tar.gz"))) == 1
    return made


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """The command alone, without extras."""
    return FreshEnvironment(tmp_path_factory.mktemp("bare") / "env", wheel)


def test_the_command_needs_neither_flink_nor_tensorflow(bare: FreshEnvironment) -> None:
    code = "import importlib.util as u; print([m for m in %r if u.find_spec(m)])"
    heavy = ["pyflink", "tensorflow", "pypmml", "onnxruntime", "duckdb", "pandas", "pyarrow", "sqlalchemy"]
    assert bare.run(bare.python, "-c", code % heavy).stdout.strip() == "[]"
    said = bare.run(bare.python.parent / "millrace", "--version")
    assert said.stdout.strip() == f"millrace {bare.wheel.version}", said.stderr


def test_each_command_explains_itself_without_extras(bare: FreshEnvironment) -> None:
    said = bare.run(bare.python, "-c", HELP, *COMMANDS)
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told.keys() == set(COMMANDS)
    for command, (code, text) in told.items():
        assert code == 0 and f"millrace {command}" in text, text


def test_plans_are_published_and_results_shown_without_extras(bare: FreshEnvironment, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes(write_plan(Plan(policy=MeanAnswer(output="y"))))
    millrace = bare.python.parent / "millrace"
    made = bare.run(millrace, "plan", plan, "--data-type", "wine", "--to-folder", tmp_path / "models")
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "models").glob("*.model"))) == 1
    stamp = Stamp("wine", "net", 3, "ab" * 32, Outcome.SCORED, 0.5)
    identity = Identity("wine", [0], [7], [1000])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "part").write_bytes(write_results([b'{"a":1}'], stamp, identity, {})[0] + b"\n")
    shown = bare.run(millrace, "tail", "--from-folder", tmp_path / "results", "--no-follow")
    assert "net v3 abababab" in shown.stdout, shown.stderr


def test_what_is_missing_is_named_with_its_extra(bare: FreshEnvironment, tmp_path: Path) -> None:
    model = tmp_path / "m.pb"
    model.write_bytes(b"a graph")
    options = ("--data-type", "wine", "--type", "tensorflow", "--input", "x:float32[2]=a,b")
    said = bare.run(bare.python.parent / "millrace", "check-model", model, *options)
    assert said.returncode == 1
    assert "pip install 'millrace[tensorflow]'" in said.stderr


def test_the_public_modules_are_typed_and_import(bare: FreshEnvironment) -> None:
    assert (bare.site / "millrace" / "py.typed").is_file()
    code = "import millrace.codecs, millrace.errors, millrace.plans, millrace.publishing, millrace.results"
    assert bare.run(bare.python, "-c", f"{code}, millrace.views").returncode == 0


def test_the_installed_job_serves_a_model_that_the_installed_command_published(
    wheel: Path, tmp_path: Path
) -> None:
    installed = FreshEnvironment(tmp_path / "env", wheel, ["jobs", "pmml"])
    root, model = tmp_path / "root", tmp_path / "price.pmml"
    model.write_text(MODEL)
    millrace = installed.python.parent / "millrace"
    target = ("--data-type", "houses", "--name", "price", "--to-folder", root / "models")
    published = installed.run(millrace, "publish", model, *target)
    assert published.returncode == 0, published.stderr
    records = root / "records" / "houses" / "all"
    records.parent.mkdir(parents=True)
    records.write_bytes(b"".join(orjson.dumps({"area": area}) + b"\n" for area in (10.0, 20.0)))
    script = installed.site / "jobs" / "serve.py"
    bounded = ("--bounded", "true", "--parallelism", "1", "--checkpoint-seconds", "1")
    done = installed.run(installed.python, script, "--folder.root", root, *bounded, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [read_result(line) for p in visible_files(root / "results") for line in p.open("rb")]
    assert {(r.outcome, r.reason) for r in results} == {(Outcome.SCORED, "")}
    assert [(r.model, r.record["area"], r.scores["predicted_price"]) for r in results] == [
        ("price", 10.0, 80.0),
        ("price", 20.0, 110.0),
    ]
    lines = [line for p in visible_files(root / "model-events") for line in p.open("rb")]
    (event,) = (decode(ModelEvent, line) for line in lines)
    assert event.kind is EventKind.SERVED
