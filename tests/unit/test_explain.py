"""`millrace explain`: what is known of a result, and that it is scored again to the bit, or why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace import kafka_stream
from millrace.cli import app
from schemas.codecs.factory import CodecSpec, make_codec
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import First, Plan, PlanArm, Prefer, Split, write_plan
from schemas.results.decided import AnswerState, DecidedStamp, Part, Reported, write_decided
from schemas.results.records import EventKind
from schemas.results.results import Experiments, Identity, read_result
from schemas.tensors import DType, Output
from tests.feature_cases import DECLARED, INPUTS
from tests.onnx_models import dense
from tests.registered import event, registered
from tests.whole_files import put
from udfs.lifecycle.audit.differences import differences, last_bit_only
from udfs.lifecycle.audit.replaying import record_of
from udfs.lifecycle.repository.published import model_of
from udfs.models.code_version import code_version
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.digest import digest_of
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.runtimes.base import PartialInput
from udfs.serving.scoring import score, unscored
from udfs.stores.registry.model_records import StoredContent
from udfs.stores.registry.models import ModelRegistry
from udfs.stores.registry.sql import SqlRegistry

WIDTH = 200
FIELDS = tuple(f"f{n}" for n in range(WIDTH))
CODEC = make_codec(CodecSpec())


class Job:
    """The folder of a job: what it would have written, made by the functions that it scores with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        self.descriptors: dict[int, bytes] = {}
        self.lines: list[bytes] = []
        self.records: list[bytes] = []

    def publish(self, version: int, **more: Any) -> None:
        weights = np.random.default_rng(version).normal(size=(WIDTH, 3)).astype(np.float32)
        self.contents[version] = dense(weights)
        told = {"name": "net", "inputs": (PartialInput("x", fields=FIELDS),), **more}
        self.descriptors[version] = build(
            data_type="wine",
            model_type="ONNX",
            data=self.contents[version],
            version=version,
            created_ms=5,
            **told,
        )
        put(self.root / "models" / f"{version}.model", self.descriptors[version])

    def score(self, version: int, records: list[bytes], size: int = 0, *, arm: str = "") -> None:
        model = load_model(parse(self.descriptors[version]), LoadPolicy(warm_up_batches=(1,)))
        first, size = len(self.records), size or len(records)
        for start in range(0, len(records), size):
            some = records[start : start + size]
            places = [*range(first + start, first + start + len(some))]
            batch = MicroBatch("wine", "wine/a.jsonl", some, [0] * len(some), places, [7] * len(some))
            part_of = {"wine-v4": (arm, 1)} if arm else {}
            self.lines += score(batch, model, CODEC, True, part_of).lines
        model.close()
        self.records += records
        self.write()

    def write(self) -> None:
        put(self.root / "records" / "wine" / "a.jsonl", b"".join(r + b"\n" for r in self.records))
        put(self.root / "results" / "part-0", b"".join(line + b"\n" for line in self.lines))


def records(count: int, seed: int = 0) -> list[bytes]:
    values = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32).round(3)
    return [
        orjson.dumps(dict(zip(FIELDS, map(float, row), strict=True)) | {"id": n})
        for n, row in enumerate(values)
    ]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def explain(job: Job, *arguments: object, code: int = 0) -> Any:
    more = [str(a) for a in (*arguments, "--from-folder", job.root, "--json")]
    done = CliRunner().invoke(app, ["explain", *more])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.output


def test_one_result_comes_out_to_the_bit(job: Job) -> None:
    job.publish(3)
    job.score(3, records(5), size=1)
    found = explain(job, "results:0:4")
    assert found["again"]["verdict"] == "same"
    assert (
        found["result"]["scores"]
        == read_result(job.lines[4]).scores
        == found["again"]["answers"]["net"]["scores"]
    )
    assert found["record"] == {"from": "the records' stream", "value": json.loads(job.records[4])}
    assert found["models"][0]["registered"] is False
    first = found["features"][0]
    assert (first["feature"], first["value"], first["origin"]) == (
        "f0",
        json.loads(job.records[4])["f0"],
        "record",
    )
    assert explain(job, "wine/a.jsonl:0:4") == found
    assert "no result at results:0:9" in explain(job, "results:0:9", code=1)
    for odd in ("results:0:\N{SUPERSCRIPT TWO}", "results:0:" + "9" * 19, "results:-1:0", ":0:0"):
        assert "is not TOPIC:PARTITION:OFFSET" in explain(job, odd, code=2)
    assert "no result at wine/a.jsonl:0:9" in explain(job, "wine/a.jsonl:0:9", code=1)


def test_what_the_registry_knows_is_shown_and_the_model_loaded_from_the_store(
    job: Job, tmp_path: Path
) -> None:
    job.publish(3)
    job.score(3, records(2), size=1)
    url, store = f"sqlite:///{tmp_path}/r.db", tmp_path / "store"
    known = model_of(job.descriptors[3])
    assert known is not None
    full = registered(3, name="net", digest=known.digest, descriptor=known.descriptor)
    ModelRegistry(url).put(full)
    told = {"name": "net", "digest": known.digest}
    for at, code in enumerate(("", "5e11", "5e12", "5e11")):
        ModelRegistry(url).add_events("serve", [event(EventKind.SERVED, at, 3, code=code, **told)])
    ModelRegistry(url).add_events("serve", [event(EventKind.SERVED, 9, 4, code="5e13", **told)])
    put(store / known.digest, job.contents[3])
    for path in (tmp_path / "models").iterdir():
        path.unlink()
    found = explain(job, "results:0:1", "--registry", url, "--model-store", store)
    assert found["again"]["verdict"] == "same"
    (model,) = found["models"]
    assert (model["registered"], model["publisher"], model["code_version"]) == (True, "ada", "")
    assert (model["served_by_code"], model["replayed_by_code"]) == (["5e11", "5e12"], code_version())
    assert model["metrics"][0]["dataset"] == "holdout" and model["training_set"]["views"] == ["houses_v1"]
    # Where the registry says where it lies, that must be below a root that may be loaded from.
    ModelRegistry(url).put_seen(full, [StoredContent(known.digest, (store / known.digest).as_uri(), 1)])
    refused = explain(job, "results:0:1", "--registry", url)
    assert (
        refused["again"]["verdict"] == "not_replayed"
        and "not below an allowed root" in refused["again"]["why"]
    )
    again = explain(job, "results:0:1", "--registry", url, "--model-root", store)
    assert again["again"]["verdict"] == "same"
    done = CliRunner().invoke(
        app,
        [
            "explain",
            "results:0:1",
            "--from-folder",
            str(job.root),
            "--registry",
            url,
            "--model-root",
            str(store),
        ],
    )
    shown = " ".join(done.output.split())
    for text in ("the same bits", "s3://sets/wine", "accuracy on holdout", "by ada", "houses_v1"):
        assert text in shown


def test_a_record_that_is_gone_is_taken_from_the_result(job: Job) -> None:
    job.publish(3)
    job.score(3, records(2), size=1)
    (job.root / "records" / "wine" / "a.jsonl").unlink()
    found = explain(job, "results:0:1")
    assert found["again"]["verdict"] == "same" and found["record"]["from"] == "the result, which repeats it"


def test_a_sample_has_no_difference_but_float32s_last_bits(job: Job) -> None:
    job.publish(3)
    job.publish(4)
    job.score(3, records(300), size=100)
    job.score(4, records(300, 1), size=7)
    found = explain(job, "--sample", 10_000)
    assert found["results"] == 600 == found["same"] + found["last_bit"]
    assert found["different"] == found["not_replayed"] == 0
    assert all(r["verdict"] == "last_bit" and "float32" in r["why"] for r in found["reasons"])
    some = explain(job, "--sample", 50, "--seed", 7)
    assert some["results"] == 50 and explain(job, "--sample", 50, "--seed", 7) == some


def test_other_scores_are_a_difference_that_is_named(job: Job) -> None:
    job.publish(3)
    job.score(3, records(3), size=1)
    stored = read_result(job.lines[1]).scores["y"]
    changed = [stored[0], stored[1] + 0.5, stored[2]]
    job.lines[1] = job.lines[1].replace(orjson.dumps(stored), orjson.dumps(changed))
    job.write()
    found = explain(job, "results:0:1", code=1)
    (one,) = found["again"]["answers"]["net"]["differences"]
    assert (one["place"], one["stored"], one["again"]) == ("y[1]", changed[1], stored[1])
    sample = explain(job, "--sample", 10, code=1)
    assert (sample["same"], sample["different"]) == (2, 1)
    assert sample["differences"][0]["record"] == "wine/a.jsonl:0:1"
    shown = CliRunner().invoke(app, ["explain", "--sample", "10", "--from-folder", str(job.root)])
    assert shown.exit_code == 1 and "DIFFERENT" in shown.output and "y[1]" in shown.output


def test_what_cannot_be_scored_again_is_counted_by_reason(job: Job) -> None:
    job.publish(3)
    job.publish(4, batch_dependent=True)
    job.score(3, records(2), size=1)
    job.score(4, records(2), size=1)
    batch = MicroBatch("wine", "wine/a.jsonl", records(1), [0], [4], [7])
    job.lines += unscored(batch, CODEC, True, "no model came").lines
    gone = job.lines[0].replace(b'"version":3', b'"version":9')
    job.lines += [gone, gone, b"no result"]
    job.write()
    found = explain(job, "--sample", 100)
    assert (found["results"], found["same"], found["not_replayed"], found["no_results"]) == (7, 2, 5, 1)
    digest = digest_of(job.contents[3]).sha256[:16]
    assert {(r["why"], r["results"]) for r in found["reasons"]} == {
        ("no model scored it (no_model)", 1),
        ("its model's answers may depend on the records beside it", 2),
        (
            f"the model net version 9 ({digest}) is not to be had: neither the registry nor the model "
            "stream has "
            f"net version 9 ({digest})",
            2,
        ),
    }


def test_other_content_under_the_digest_is_not_taken_for_it(job: Job, tmp_path: Path) -> None:
    job.publish(3)
    job.score(3, records(1))
    known = model_of(job.descriptors[3])
    assert known is not None
    url, store = f"sqlite:///{tmp_path}/r.db", tmp_path / "store"
    ModelRegistry(url).put(known)
    put(store / known.digest, b"something else")
    found = explain(job, "results:0:0", "--registry", url, "--model-store", store)
    assert found["again"]["verdict"] == "not_replayed" and "cannot be loaded: digest" in found["again"]["why"]


def test_features_say_where_they_are_from(job: Job, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    SqlRegistry(url).apply(DECLARED)
    _, ref = INPUTS.inputs[0]
    stamp = {"feature": str(ref), "version": 1, "value": 2.5, "age_ms": 61_000, "created_on_demand": True}
    job.publish(3)
    job.score(3, [records(1)[0][:-1] + b',"features":' + orjson.dumps([stamp]) + b"}"])
    (one,) = explain(job, "results:0:0", "--registry", url)["features"]
    lineage = SqlRegistry(url).lineage(ref)
    assert (one["value"], one["age_ms"], one["origin"]) == (2.5, 61_000, "made on demand")
    assert (one["source"], one["through"]) == (lineage.source, list(lineage.through))
    shown = (
        CliRunner()
        .invoke(app, ["explain", "results:0:0", "--from-folder", str(job.root), "--registry", url])
        .output
    )
    assert "made on demand, from" in shown and "1.02 min" in shown


def decided(job: Job, plan: Plan, part_of: Experiments | None = None) -> None:
    """Two candidates answer, and the plan decides: for `two`, by preference."""
    put(
        job.root / "models" / "plan.model",
        build(data_type="wine", operation=DECIDE, plan=write_plan(plan).decode(), version=2, created_ms=9),
    )
    payloads, reported = records(4), []
    for version in (3, 4):
        model = load_model(parse(job.descriptors[version]), LoadPolicy(warm_up_batches=(1,)))
        answers = [model.predict(CODEC.decode([p], model.inputs).columns)["y"] for p in payloads]
        whole = np.ones(len(payloads), bool)
        name = model.stamp.name
        reported.append(
            Reported(
                name,
                AnswerState.SCORED,
                whole,
                whole,
                {"y": np.concatenate(answers)},
                {},
                version,
                model.stamp.digest,
                1.0,
                3.0 + version,
            )
        )
        model.close()
    part = Part(np.arange(len(payloads)), reported[1].columns, reported[1].candidate, "prefer")
    identity = Identity("wine/a.jsonl", [0] * 4, [*range(4)], [7] * 4)
    stamp = DecidedStamp("wine", "plan", 2, 100, 5.0, part_of or {})
    job.lines, rows = write_decided(payloads, stamp, identity, [part], reported)
    assert rows is None
    job.records = payloads
    job.write()


def test_the_arm_of_a_job_that_shares_its_data_type_is_told(job: Job) -> None:
    job.publish(3)
    job.score(3, records(1), arm="treatment")
    job.score(3, records(1))
    found = explain(job, "results:0:0")
    assert found["result"]["experiments"] == {"wine-v4": {"arm": "treatment", "step": 1}}
    assert found["again"]["verdict"] == "same" and "decision" not in found
    shown = CliRunner().invoke(app, ["explain", "results:0:0", "--from-folder", str(job.root)]).output
    assert "wine-v4: arm treatment, step 2" in shown  # the second one, as `millrace experiment` counts
    assert "experiments" not in explain(job, "results:0:1")["result"]


def test_candidates_are_scored_again_and_the_plan_decides_again(job: Job) -> None:
    job.publish(3, name="one")
    job.publish(4, name="two")
    decided(job, Plan(Prefer(candidates=("two", "one"))))
    found = explain(job, "results:0:2")
    assert found["again"]["verdict"] == "same"
    assert set(found["again"]["answers"]) == {"one", "two"} == {m["name"] for m in found["models"]}
    assert found["decision"]["rule"] == "prefer" and found["again"]["decision"]["verdict"] == "same"
    assert explain(job, "--sample", 10)["same"] == 4
    shown = CliRunner().invoke(app, ["explain", "results:0:2", "--from-folder", str(job.root)]).output
    assert "prefer" in shown and "plan v2" in shown

    decided(job, Plan(First()))  # it would have decided otherwise
    found = explain(job, "results:0:2", code=1)
    assert found["again"]["decision"]["verdict"] == "different"
    assert "prefer of two decided, and now first of one does" in found["again"]["why"]
    (job.root / "models" / "plan.model").unlink()
    found = explain(job, "results:0:2")
    assert found["again"]["why"] == "neither registry nor model stream has plan plan version 2"


@pytest.mark.parametrize(
    ("part_of", "verdict"),
    [
        ({"b": ("treatment", 1)}, "same"),
        ({"a": ("control", 1)}, "same"),
        ({"a": ("treatment", 1)}, "different"),
        ({"b": ("control", 1)}, "different"),
        ({}, "different"),
    ],
)
def test_of_several_experiments_the_plan_of_its_own_arm_decides_again(
    job: Job, part_of: Experiments, verdict: str
) -> None:
    two, one = Plan(Prefer(candidates=("two", "one"))), Plan(Prefer(candidates=("one", "two")))

    def split(name: str, population: tuple[float, float], control: Plan, treatment: Plan) -> Split:
        arms = (PlanArm("control", 0.5, control), PlanArm("treatment", 0.5, treatment))
        return Split(name, "id", name, arms, 1, population)

    job.publish(3, name="one")
    job.publish(4, name="two")
    both = (split("a", (0.0, 0.5), two, one), split("b", (0.5, 0.8), one, two))
    decided(job, Plan(Prefer(candidates=("one",)), experiments=both), part_of)
    found = explain(job, "results:0:2", code=int(verdict == "different"))
    assert found["again"]["decision"]["verdict"] == verdict
    shown = {name: {"arm": arm, "step": step} for name, (arm, step) in part_of.items()}
    assert found["result"].get("experiments", {}) == shown
    if verdict == "different":
        assert "prefer of two decided, and now prefer of one does" in found["again"]["why"]


def test_topics_are_read_where_they_say(job: Job, mock_broker: tuple[str, Producer]) -> None:
    bootstrap, producer = mock_broker
    job.publish(3)
    job.score(3, records(20), size=1)
    lines = [line.replace(b'"source":"wine/a.jsonl"', b'"source":"wines"') for line in job.lines]
    for topic, messages in (("wines", job.records), ("results", lines), ("models", [job.descriptors[3]])):
        for message in messages:
            producer.produce(topic, message, partition=0)
    assert producer.flush(30) == 0

    def ask(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["explain", *arguments, "--bootstrap", bootstrap, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    for place in ("results:0:13", "wines:0:13"):
        found = ask(place)
        assert found["again"]["verdict"] == "same" and found["record"]["value"]["id"] == 13
        assert found["record"]["from"] == "the records' stream"
    sample = ask("--sample", "1000")
    assert (sample["results"], sample["same"]) == (20, 20)
    assert sample["records_from"] == {"the records' stream": 20}
    gone = CliRunner().invoke(app, ["explain", "results:0:99", "--bootstrap", bootstrap])
    assert gone.exit_code == 1 and "there is no result at results:0:99" in gone.stderr
    none = CliRunner().invoke(app, ["explain", "results:77:0", "--bootstrap", bootstrap])
    assert none.exit_code == 1 and "has no partition 77" in none.stderr


def test_offsets_far_apart_are_read_without_what_lies_between(
    mock_broker: tuple[str, Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, producer = mock_broker
    for n in range(200):
        producer.produce("far", b"%d" % n, partition=0)
    assert producer.flush(30) == 0
    monkeypatch.setattr(kafka_stream, "_SEEK_FROM", 10)
    wanted = {0: [150, 3, 7, 150, 199, 900]}
    found = [*kafka_stream.read_at(bootstrap, "far", wanted, {}, 30)]
    assert found == [(0, 3, b"3"), (0, 7, b"7"), (0, 150, b"150"), (0, 199, b"199")]


@pytest.mark.parametrize("place", ["results", "results:0", "results:x:1", ":0:1"])
def test_a_place_is_a_topic_a_partition_and_an_offset(job: Job, place: str) -> None:
    assert "is not TOPIC:PARTITION:OFFSET" in " ".join(explain(job, place, code=2).split())
    assert "either a place" in " ".join(explain(job, code=2).split())


def test_numbers_are_compared_by_their_bits() -> None:
    narrow, wide = [Output("y", DType.FLOAT32)], [Output("y", DType.FLOAT64)]
    one, step = np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))
    a, b = ({"y": orjson.loads(orjson.dumps(float(str(v))))} for v in (one, step))
    assert differences(a, a, narrow) == []
    found = differences(a, b, narrow)
    assert [d.ulps for d in found] == [1] and last_bit_only(found) and "1 steps apart" in str(found[0])
    assert not last_bit_only(differences(a, b, wide))
    near = {"y": float(np.nextafter(-0.25, 1.0))}
    assert [d.ulps for d in differences({"y": -0.25}, near, wide)] == [1]
    assert [d.ulps for d in differences({"y": 1}, {"y": 2}, wide)] == [None]
    assert [d.ulps for d in differences({"y": 0.0}, {"y": -0.0}, narrow)] == [1]
    assert [d.ulps for d in differences({"y": 1.0}, {"y": "1.0"}, narrow)] == [None]
    assert len(differences({"y": [1.0, 2.0]}, {"y": [1.0]}, narrow)) == 1
    assert len(differences({"y": 1.0}, {}, narrow)) == 1
    assert [d.place for d in differences({"y": [[1.0, 2.0]]}, {"y": [[1.0, 2.5]]}, narrow)] == ["y[0][1]"]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 50))
def test_steps_of_float32_are_counted(start: float, steps: int) -> None:
    at = np.float32(start)
    for _ in range(steps):
        at = np.nextafter(at, np.float32(np.inf))
    if not np.isfinite(at):
        return
    found = differences({"y": float(start)}, {"y": float(at)}, [Output("y", DType.FLOAT32)])
    crossed = 1 if start <= 0 <= float(at) and steps and not (start == 0 and str(start) == "0.0") else 0
    assert [d.ulps for d in found] in ([steps], [steps + crossed], [] if not steps else [steps])


LETTERS = st.text('ab"{}:,\\', max_size=6)


@given(
    st.dictionaries(
        st.sampled_from(["a", 'x"millrace":', "b"]),
        st.integers() | LETTERS | st.dictionaries(st.just("millrace"), LETTERS | st.just({"millrace": {}})),
    )
)
def test_the_record_in_a_result_is_found_whatever_it_holds(record: dict[str, Any]) -> None:
    payload = json.dumps(record, separators=(",", ":")).encode()
    batch = MicroBatch("wine", 't"millrace":{', [payload], [0], [4], [7])
    (line,) = unscored(batch, make_codec(CodecSpec()), True, 'because "millrace":{}').lines
    assert record_of(line) == payload
