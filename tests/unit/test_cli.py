"""The command, with a folder as the stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from millrace import checking, folder_stream
from millrace.cli import app
from millrace.models import latest_of_topic, merged
from millrace.package import packed, type_of
from millrace.render import _timing
from millrace.versions import short, with_date
from schemas.errors import LoadError, SettingsError, UnsafeModelError
from schemas.plans.plan import Majority, read_plan
from schemas.results.records import DeadLetter, ModelToServeStats, Outcome, encode
from schemas.results.results import Identity, Stamp, write_results
from schemas.tensors import DType, Input, Output
from udfs.models import content, loading
from udfs.models.descriptor import DECIDE, WITHDRAW, parse
from udfs.models.digest import digest_of
from udfs.models.runtimes.pmml.document import is_pmml

PMML = b'<?xml version="1.0"?>\n<!-- made here -->\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"/>'


@pytest.fixture
def run():
    runner = CliRunner()

    def invoke(*arguments, env=None):
        return runner.invoke(app, [str(a) for a in arguments], env=env)

    return invoke


@pytest.fixture
def fake_runtime(monkeypatch):
    """A runtime that sums its columns, in the place of all three; `refuse` makes it refuse."""
    module = types.ModuleType("millrace_fake_runtime")

    class Runtime:
        def __init__(self, wanted):
            fields = tuple(wanted.fields) or (wanted.inputs[0].fields if wanted.inputs else ("a", "b"))
            self.inputs = (Input("x", DType.FLOAT32, (len(fields),), fields),)
            self.outputs = (Output("sum", DType.FLOAT64),)

        def predict(self, columns):
            return {"sum": columns["x"].astype(np.float64).sum(axis=1)}

        def close(self):
            pass

    def load(artifact, wanted):
        if module.refuse:
            raise UnsafeModelError("it opens the file /etc/passwd")
        return Runtime(wanted)

    module.refuse, module.load = False, load
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(content, "RUNTIMES", dict.fromkeys(content.RUNTIMES, module.__name__))
    return module


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.pmml"
    path.write_bytes(PMML)
    return path


def _sent(folder):
    return [parse(path.read_bytes()) for path in sorted(folder.glob("*.model"))]


def test_publishing_puts_one_whole_descriptor_into_the_folder(run, fake_runtime, model, tmp_path):
    folder = tmp_path / "stream"
    done = run(
        "publish", model, "--data-type", "wine", "--name", "my model/1", "--description", "d",
        "--metric", "accuracy=0.5", "--output", "sum=score", "--force", "--to-folder", folder,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (path,) = folder.iterdir()
    a = parse(path.read_bytes())
    assert path.name == f"{a.created_ms:013d}-wine-my model%2F1-v{a.version}.model"
    assert (a.name, a.data_type, a.model_type, a.description) == ("my model/1", "wine", "PMML", "d")
    assert (a.data, a.sha256) == (PMML, digest_of(PMML).sha256)
    assert a.metrics == (("accuracy", 0.5),)
    assert (a.outputs, a.force, a.inputs) == ((("sum", "score"),), True, ())
    assert a.sha256 in done.output
    assert "float32[2] from a, b" in done.output


def test_versions_and_names_rise_even_where_the_clock_does_not(run, fake_runtime, model, tmp_path):
    folder = tmp_path / "stream"
    ahead = 10**12 * 9
    folder_stream.write(folder, b"", created_ms=ahead, data_type="wine", name="n", version=ahead)
    for _ in range(2):
        assert run("publish", model, "--data-type", "wine", "--to-folder", folder).exit_code == 0
    *_, first, second = sorted(folder.iterdir())
    first, second = parse(first.read_bytes()), parse(second.read_bytes())
    assert ahead < first.version < second.version
    assert ahead < first.created_ms < second.created_ms


def test_the_order_of_fields_travels_with_the_model(run, fake_runtime, model, tmp_path):
    done = run(
        "publish", model, "--data-type", "w", "--field", "c,b", "--field", "a", "--to-folder", tmp_path
    )
    assert done.exit_code == 0, done.output
    (a,) = _sent(tmp_path)
    assert [(i.name, i.dtype, i.shape, i.fields) for i in a.inputs] == [
        ("x", "float32", (3,), ("c", "b", "a"))
    ]


def test_a_refused_model_is_not_sent_and_the_step_is_said(run, fake_runtime, model, tmp_path):
    fake_runtime.refuse = True
    done = run("publish", model, "--data-type", "wine", "--to-folder", tmp_path / "stream")
    assert done.exit_code == 1
    assert done.stderr == "The model is refused at the step 'safety': it opens the file /etc/passwd\n"
    assert not (tmp_path / "stream").exists()
    checked = run("check-model", model)
    assert (checked.exit_code, checked.stderr) == (1, done.stderr)


def test_check_model_sends_nothing_and_shows_what_it_found(run, fake_runtime, model):
    done = run("check-model", model, "--input", "x:float32[2]=height,width")
    assert done.exit_code == 0, done.output
    assert "from height, width" in done.output
    assert "batch of 1024" in done.output


def test_what_was_started_for_the_check_is_said_and_not_again(run, fake_runtime, model, monkeypatch):
    monkeypatch.setattr(checking, "_SLOW_TO_START", {"millrace_slow_library": "the library"})
    loads, load = [], fake_runtime.load

    def starting(artifact, wanted):
        loads.append(artifact)
        monkeypatch.setitem(sys.modules, "millrace_slow_library", fake_runtime)
        return load(artifact, wanted)

    fake_runtime.load = starting
    cold = run("check-model", model, "--data-type", "wine")
    assert "the library had to start, which a job does once" in cold.output
    assert len(loads) == 2
    warm = run("check-model", model, "--data-type", "wine")
    assert "had to start" not in warm.output
    assert len(loads) == 3


def test_a_step_says_what_it_takes_without_the_start():
    assert _timing(5.0, 0.2) == "5.000 s cold, 0.200 s warm"
    assert _timing(0.05, 0.001) == _timing(0.05, None) == "0.050 s"


def test_what_is_too_large_is_uploaded_and_only_named(run, fake_runtime, model, tmp_path):
    store, folder = tmp_path / "store", tmp_path / "stream"
    publish = ("publish", model, "--data-type", "wine", "--to-folder", folder, "--inline-limit", 10)
    done = run(*publish)
    assert done.exit_code == 1
    assert "--upload" in done.stderr
    assert not folder.exists()
    done = run(*publish, "--upload", store.as_uri())
    assert done.exit_code == 0, done.output
    (a,) = _sent(folder)
    assert a.data is None
    assert (a.sha256, a.size) == digest_of(PMML)
    loaded = loading.load_model(a, loading.LoadPolicy(roots=(str(store),)))
    assert loaded.stamp.digest == a.sha256
    loaded.close()
    assert [p.name for p in (store / "wine").iterdir()] == [f"{a.sha256}.pmml"]
    assert run(*publish, "--upload", "ftp://elsewhere/").exit_code == 1


def test_unpublishing_names_the_type_and_perhaps_the_model(run, tmp_path):
    assert run("unpublish", "wine", "--to-folder", tmp_path).exit_code == 0
    assert run("unpublish", "wine", "--name", "forest", "--to-folder", tmp_path).exit_code == 0
    assert [(a.operation, a.data_type, a.name) for a in _sent(tmp_path)] == [
        (WITHDRAW, "wine", ""),
        (WITHDRAW, "wine", "forest"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "{model}", "--data-type", "wine"),
        ("publish", "{model}", "--data-type", "wine", "--to-folder", "x", "--bootstrap", "h:1"),
        ("publish", "{model}", "--data-type", "wine", "--to-folder", "x", "--metric", "accuracy=good"),
        ("publish", "{model}", "--data-type", "wine", "--bootstrap", "h:1", "--client", "novalue"),
        ("publish", "absent.pmml", "--data-type", "wine", "--to-folder", "x"),
        ("models",),
        ("tail", "--from-folder", "x", "--count", "0"),
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_with_two(run, model, arguments):
    done = run(*(a.format(model=model) for a in arguments), env={"MILLRACE_BOOTSTRAP": None})
    assert done.exit_code == 2, done.output


def test_the_environment_stands_in_for_options(run, fake_runtime, model, tmp_path):
    done = run("publish", model, "--data-type", "w", env={"MILLRACE_MODELS_FOLDER": str(tmp_path / "s")})
    assert done.exit_code == 0, done.output
    assert len(_sent(tmp_path / "s")) == 1


def test_a_surprise_is_one_sentence_and_shows_its_place_on_request(run, fake_runtime, model, monkeypatch):
    monkeypatch.setattr("millrace.checking.check", lambda *a, **k: 1 / 0)
    done = run("check-model", model)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in done.stderr
    assert "MILLRACE_DEBUG=1" in done.stderr
    assert "Traceback" in run("check-model", model, env={"MILLRACE_DEBUG": "1"}).stderr


def test_types_are_seen_from_the_data(tmp_path):
    def made(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert type_of(made("a", PMML)) == "PMML"
    assert type_of(made("b", b"\xef\xbb\xbf" + PMML)) == "PMML"
    assert type_of(made("c", '<x:PMML xmlns:x="u"/>'.encode("utf-16"))) == "PMML"
    # as comments and instructions these can be read in more ways than there is time to try
    assert type_of(made("e", b"<?a?><!-- -->" * 2000 + PMML)) == "PMML"
    assert not is_pmml(made("f", b"<?a?><!-- -->" * 2000 + b"<x/>"))
    assert type_of(made("d", b"anything"), "TensorFlow") == "TENSORFLOW"
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"x")
    (folder / "variables" / "v").write_bytes(b"y")
    assert type_of(folder) == "TENSORFLOWSAVED"
    archive = packed(folder, tmp_path)
    assert type_of(archive) == "TENSORFLOWSAVED"
    assert zipfile.ZipFile(archive).namelist() == ["saved_model.pb", "variables/v"]
    before = archive.read_bytes()
    os.utime(folder / "saved_model.pb", (1, 1))
    assert packed(folder, tmp_path).read_bytes() == before
    with pytest.raises(LoadError, match="without a saved_model"):
        type_of(folder / "variables")
    with pytest.raises(SettingsError, match="no model type"):
        type_of(folder, "tflite")


STATS = ModelToServeStats(
    name="forest", description="", data_type="wine", model_type="PMML", version=3, digest="ab" * 32,
    since=1000, at=3000, subtask=0, usage=40, batches=4, failures=0, duration_ms=8.0, min_ms=1.0, max_ms=4.0,
    p50_ms=2.0, p99_ms=4.0,
)  # fmt: skip


def _stats(**changes) -> ModelToServeStats:
    values = {name: getattr(STATS, name) for name in ModelToServeStats.__dataclass_fields__}
    return ModelToServeStats(**{**values, **changes})


def test_subtasks_are_merged():
    other = _stats(subtask=1, since=2000, usage=10, batches=1, duration_ms=7.0, p50_ms=7.0, p99_ms=7.0)
    idle = _stats(subtask=2, usage=0, batches=0, duration_ms=0.0, p50_ms=float("nan"), p99_ms=float("nan"))
    (row,) = merged([idle, STATS, other])
    assert (row["usage"], row["subtasks"], row["since"]) == (50, 3, 1000)
    assert row["rate"] == 20 + 10
    assert (row["mean_ms"], row["p50_ms"], row["p99_ms"]) == (3.0, 7.0, 7.0)


def test_a_deleted_key_is_gone_and_the_last_value_counts():
    newer = _stats(usage=41)
    left = latest_of_topic(
        [(b"a", encode(STATS)), (b"b", encode(STATS)), (b"a", encode(newer)), (b"b", None), (b"c", b"{}")]
    )
    assert left == [newer]


def test_models_shows_the_newest_statistics_of_the_folder(run, tmp_path):
    (tmp_path / "day").mkdir()
    older, other = _stats(at=2000, usage=1), _stats(name="old", serving=False)
    event = b'{"kind": "served"}'
    lines = [encode(STATS), encode(older), event, encode(other)]
    (tmp_path / "day" / "part-0").write_bytes(b"\n".join(lines))
    (tmp_path / "day" / ".part-1.inprogress").write_bytes(encode(_stats(usage=999)) + b"\n")
    (tmp_path / "_temporary").write_bytes(encode(_stats(usage=999)) + b"\n")
    done = run("models", "--from-folder", tmp_path, "--json")
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["usage"], row["digest"]) == ("forest", 40, "ab" * 32)
    assert len(json.loads(run("models", "--from-folder", tmp_path, "--json", "--all").stdout)) == 2
    table = run("models", "--from-folder", tmp_path).stdout
    assert "forest" in table
    assert "abababababab " in table
    assert run("models", "--from-folder", tmp_path / "absent").exit_code == 1


def test_a_followed_folder_gives_whole_lines_once(tmp_path):
    (tmp_path / "a").write_bytes(b"1\n2")
    lines = folder_stream.lines(tmp_path, follow=True)
    assert next(lines) == b"1"

    def more():
        with (tmp_path / "a").open("ab") as file:
            file.write(b"2\n")
        (tmp_path / ".b").write_bytes(b"3\n")
        (tmp_path / ".b").rename(tmp_path / "b")

    writer = threading.Thread(target=more)
    writer.start()
    assert [next(lines), next(lines)] == [b"22", b"3"]
    writer.join()


@pytest.fixture
def results(tmp_path):
    """A folder with two results and one file in progress, as a job's sink leaves it."""
    stamp = Stamp("wine", "forest", 3, "ab" * 32, Outcome.SCORED, 1.25)
    scores = {"quality": np.array([5.5, 6.0]), "p": np.arange(12, dtype=np.float64).reshape(2, 6)}
    identity = Identity("wines", [0, 1], [7, 8], [1_700_000_000_000] * 2)
    lines = write_results([b'{"a":1}', b'{"a":2}'], stamp, identity, scores)
    folder = tmp_path / "results"
    (folder / "hour").mkdir(parents=True)
    (folder / "hour" / "part-0").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "hour" / "_part-1").write_bytes(b"not yet")
    return folder, lines


def test_tail_shows_a_compact_line_a_result(run, results):
    done = run("tail", "--from-folder", results[0], "--no-follow")
    assert done.exit_code == 0, done.output
    first, second = done.stdout.splitlines()
    assert "wine  scored  forest v3 abababab  quality=5.5 p=[0,1,2,3,… 6]  1.250 ms  wines/0@7" in first
    assert second.endswith("wines/1@8")


def test_tail_gives_the_bytes_as_they_stand_and_ends_after_the_count(run, results):
    done = run("tail", "--from-folder", results[0], "--from-beginning", "--json", "--count", "1")
    assert (done.exit_code, done.stdout_bytes) == (0, results[1][0] + b"\n")


def test_tail_passes_over_nothing_and_prints_no_control_characters(run, tmp_path):
    (tmp_path / "part-0").write_bytes(b"\x1b[2J{}\n")
    done = run("tail", "--from-folder", tmp_path, "--no-follow")
    assert "not a result" in done.stdout
    assert "\x1b" not in done.stdout


def test_tail_that_shows_no_score_says_what_else_there_is(run, tmp_path):
    (tmp_path / "results").mkdir()
    identity = Identity("wines", [0, 0], [1, 2], [1000, 2000])
    unscored = Stamp("wine", "", 0, "", Outcome.NO_MODEL, 0.0, reason="no model was published")
    lines = write_results([b"{}", b"{}"], unscored, identity, {})
    (tmp_path / "results" / "part").write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "dead-letters").mkdir()
    letters = [
        DeadLetter("wine", "wines", 0, offset, 1000, code, reason, "", 2)
        for offset, code, reason in (
            (7, "null", "'a' is null"),
            (8, "null", "'b' is null"),
            (9, "unparsable", "no JSON"),
        )
    ]
    (tmp_path / "dead-letters" / "part").write_bytes(b"".join(encode(one) + b"\n" for one in letters))
    done = run("tail", "--from-folder", tmp_path / "results", "--no-follow")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "2 results of wine are no_model: no model was published.",
        "Publish a model for it: millrace publish MODEL --data-type wine",
        "2 dead letters of wine are null, such as wines/0@7: 'a' is null.",
        "1 dead letters of wine are unparsable, such as wines/0@9: no JSON.",
    ]


def test_tail_of_nothing_says_so_and_one_with_scores_says_nothing_else(run, tmp_path, results):
    (tmp_path / "none").mkdir()
    assert run("tail", "--from-folder", tmp_path / "none", "--no-follow").stderr == "No results.\n"
    (results[0].parent / "dead-letters").mkdir()
    letter = DeadLetter("wine", "wines", 0, 1, 1000, "null", "'a' is null", "", 2)
    (results[0].parent / "dead-letters" / "part").write_bytes(encode(letter) + b"\n")
    assert run("tail", "--from-folder", results[0], "--no-follow").stderr == ""


def test_a_version_that_is_a_time_is_shown_as_one(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert (short(1_795_859_345_253), short(3)) == ("2026-11-28 09:49:05", "v3")
        assert with_date(1_795_859_345_253) == "1795859345253 (2026-11-28 09:49:05)"
        assert with_date(0) == "0"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_ctrl_c_ends_tail_quietly(results):
    follow = [sys.executable, "-m", "millrace.cli", "tail", "--from-folder", results[0], "--from-beginning"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout.readline()
        assert tail.stdout.readline()  # both are out: it waits for more
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=30)
    assert (tail.returncode, errors) == (0, b"")


def test_help_starts_without_what_is_heavy():
    code = (
        "import sys\nfrom millrace.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'numpy', 'boto3', 'confluent_kafka', 'pypmml'} & set(sys.modules)\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "check-model" in done.stdout


def test_a_plan_is_checked_and_published(run, tmp_path):
    file, folder = tmp_path / "plan.json", tmp_path / "models"
    policy = {"policy": "majority", "output": "quality", "otherwise": {"policy": "first"}}
    rules = {"route": "rules", "rules": [{"when": "record.alcohol > 11.0", "candidates": ["a"]}]}
    file.write_text(json.dumps({"policy": policy, "route": rules, "deadline_ms": 50}))
    assert run("plan", file, "--data-type", "wine", "--name", "vote", "--to-folder", folder).exit_code == 0
    assert run("plan", file, "--data-type", "wine", "--version", 7, "--to-folder", folder).exit_code == 0
    first, second = _sent(folder)
    assert (first.operation, first.name, first.data_type) == (DECIDE, "vote", "wine")
    assert (second.name, second.version) == ("plan", 7)
    made = read_plan(first.plan)
    assert made.deadline_ms == 50 and isinstance(made.policy, Majority)


@pytest.mark.parametrize(
    "plan",
    [
        "no json",
        {"policy": {"policy": "coin"}},
        {"deadline_ms": 0},
        {"route": {"route": "rules", "rules": [{"when": "record.x >", "candidates": ["a"]}]}},
    ],
)
def test_a_plan_that_cannot_be_followed_is_not_published(run, tmp_path, plan):
    file, folder = tmp_path / "plan.json", tmp_path / "models"
    file.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    done = run("plan", file, "--data-type", "wine", "--to-folder", folder)
    assert done.exit_code == 1 and done.stderr.startswith("The plan is refused: ")
    assert len(done.stderr.splitlines()) == 1 and not folder.exists()
