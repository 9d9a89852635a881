"""A dry run on stored predictions: what the controller would have decided, and when."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from millrace.cli import app
from schemas.errors import ExperimentError
from tests.experiment_evidence import DECLARED
from tests.outcome_cases import JUDGING
from udfs.io.s3 import S3Options
from udfs.lifecycle.experiments.assignment import in_population, treated
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, Sampling
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.messages import Came, Predicted
from udfs.lifecycle.outcomes.rehearsing import Rehearsed, rehearse
from udfs.lifecycle.outcomes.rows import to_rows

COUNT, START, EVERY = 4_000, 1_000_000_000_000, 500
EXPERIMENT = replace(DECLARED, guardrails=(), attribution_ms=60_000)


def answered(name: str, version: int, score: float, outcome: str = "scored") -> dict[str, object]:
    scores = {"p": score} if outcome == "scored" else {}
    return {name: {"outcome": outcome, "version": version, "scores": scores, "ms": 1.0, "waited_ms": 2.0}}


def settled(right: float) -> list[Settled]:
    """Both models' answers by entity: the new one is right with this probability, the old one in 80 %.

    Every tenth prediction has no outcome, every fiftieth no entity, and every hundredth an answer of the old
    model alone. Each is corrected once.
    """
    rng = np.random.default_rng(5)
    found = []
    for k in range(COUNT):
        at, came = START + k * EVERY, float(rng.random() < 0.5)
        old, new = (came if rng.random() < p else 1 - came for p in (0.8, right))
        answers = answered("old", 3, old) | (answered("new", 4, new) if k % 100 != 7 else {})
        predicted = Predicted(
            "wine", "s", 0, k, at, "old", 3, "ab", "scored", 1.0, old, "", f"c{k % 3900}" if k % 50 else "",
            answers=orjson.dumps(answers).decode(),
        )  # fmt: skip
        if k % 10 == 3:
            found.append(Settled("", predicted, None, None, 1))
            continue
        delay = int(rng.integers(1, 50_000))
        wrong = Came("wine", at + delay, 1 - came, "0", at + delay, "o", 0, k)
        found.append(Settled("", predicted, wrong, OutcomeFate.JOINED, 1))
        last = Came("wine", at + delay + 9, came, "1", at + delay + 9, "o", 0, COUNT + k)
        found.append(Settled("", predicted, last, OutcomeFate.CORRECTION, 2, 1 - came))
    return [found[k] for k in rng.permutation(len(found))]


def stored(root: Path, rows: list[Settled]) -> str:
    for model in {row.predicted.model for row in rows}:
        folder = root / "wine" / "dt=2001-09-09" / f"model={model}"
        folder.mkdir(parents=True)
        some = [row for row in rows if row.predicted.model == model]
        table = pa.Table.from_batches([to_rows(some, JUDGING, 0)]).drop_columns(["model"])
        pq.write_table(table, folder / "part-0")
    return str(root / "wine")


def run(location: str, **changes: object) -> Rehearsed:
    return rehearse(replace(EXPERIMENT, **changes), location, S3Options())


def test_a_worse_model_would_have_been_rolled_back_and_says_when(tmp_path):
    found = run(stored(tmp_path, settled(0.4)))
    *first, last = found.events
    assert first[0].kind == "started" and last.kind == "rolled_back"
    assert last.metric == "correct" and last.arms["treatment"].mean < last.arms["control"].mean
    assert START < last.at < START + COUNT * EVERY + 60_000
    assert found.predictions == COUNT and found.without_entity == COUNT // 50
    assert 0 < found.unanswered <= COUNT // 100


def test_of_a_population_only_its_entities_count(tmp_path):
    rows = settled(0.97)
    part = replace(EXPERIMENT, population=(0.5, 1.0))
    found = run(stored(tmp_path, rows), population=(0.5, 1.0))
    entities = [one.predicted.entity.encode() for one in rows if one.revision == 1 and one.predicted.entity]
    assert found.outside == (~in_population(part, entities)).sum() > COUNT // 3
    assert [one.kind for one in found.events] == ["started", "step", "step", "promoted"]
    (last,) = found.events[-1:]
    assert last.entities <= in_population(part, sorted(set(entities))).sum()


def test_a_better_model_is_promoted_over_the_ramp_and_an_equal_one_is_not(tmp_path):
    better, equal = (run(stored(tmp_path / name, settled(p))).events for name, p in (("b", 0.97), ("e", 0.8)))
    assert [one.kind for one in better] == ["started", "step", "step", "promoted"]
    assert equal[-1].kind == "progress" and equal[-1].step == 2
    assert equal[-1].arms["control"].entities + equal[-1].arms["treatment"].entities < equal[-1].entities


def test_shares_follow_the_evidence_where_they_are_sampled(tmp_path):
    sampled = Experiment(
        "wine-v4",
        "wine",
        "customer",
        DECLARED.arms,
        DECLARED.primary,
        attribution_ms=60_000,
        sampling=Sampling(every=100),
    )
    events = rehearse(sampled, stored(tmp_path, settled(0.9)), S3Options()).events
    assert [one.kind for one in events[:2]] == ["started", "step"] and events[-1].kind == "promoted"
    assert [one.step for one in events[1:-1]] == list(range(1, len(events) - 1))
    assert events[-2].arms["treatment"].share > 0.8 and events[0].arms["treatment"].share == 0.5
    assert events[-1].arms["treatment"].entities > events[-1].arms["control"].entities


def test_predictions_of_the_experiment_itself_are_judged_the_same_once_more(tmp_path):
    """Stored as the arms would have been: whoever was drawn into an arm has its model's answer."""
    rows = settled(0.97)
    first = run(stored(tmp_path / "shadow", rows))
    steps = [(START, 0), *((one.at, one.step) for one in first.events if one.kind == "step")]
    again = []
    for one in rows:
        predicted = one.predicted
        answers = orjson.loads(predicted.answers)
        if predicted.entity and "new" not in answers:
            continue
        step = steps[bisect_right([at for at, _ in steps], predicted.event_time) - 1][1]
        (arm,) = treated(EXPERIMENT, [predicted.entity.encode()], step).tolist()
        name, title = ("new", "treatment") if arm else ("old", "control")
        told = orjson.dumps({"wine-v4": {"arm": title, "step": step}}).decode()
        score = answers[name]["scores"]["p"] if predicted.entity else 0.5
        whose = {"model": name, "version": EXPERIMENT.arms[title].version}
        own = replace(predicted, **whose, score=score, experiments=told, answers="", ms=2.0)
        again.append(Settled("", own, one.came, one.fate, one.revision, one.replaced))
    second = run(stored(tmp_path / "live", again))
    assert second.events == first.events and second.unanswered == 0


def test_failures_and_lateness_of_an_arm_s_model_are_its_own(tmp_path):
    rows = []
    for k, one in enumerate(settled(0.8)):
        answers = orjson.loads(one.predicted.answers)
        if "new" in answers and k % 2:
            answers |= answered("new", 0, 0.0, "late")
        rows.append(Settled("", replace(one.predicted, answers=orjson.dumps(answers).decode()), *one_of(one)))
    guard = Metric("late", better="lower", tolerance=0.1)
    last = run(stored(tmp_path, rows), guardrails=(guard,)).events[-1]
    assert (last.kind, last.metric) == ("rolled_back", "late")


def one_of(one: Settled) -> tuple[object, ...]:
    return one.came, one.fate, one.revision, one.replaced


def test_another_version_and_arms_that_are_no_models_cannot_be_judged(tmp_path):
    location = stored(tmp_path, settled(0.8))
    other = run(location, arms={"control": Arm("old", 3), "treatment": Arm("new", 5)})
    assert [one.kind for one in other.events] == ["started", "progress"] and other.events[-1].entities == 0
    assert other.unanswered == COUNT - COUNT // 50
    with pytest.raises(ExperimentError, match="arm 'treatment' is no model"):
        run(location, arms={"control": Arm("old", 3), "treatment": Arm(shadow="new")})


def test_the_command_prints_decisions_with_their_times_and_sends_nothing(tmp_path):
    location = stored(tmp_path, settled(0.4))
    file = tmp_path / "wine.toml"
    file.write_text(
        'name = "wine-v4"\ndata_type = "wine"\nentity = "customer"\nramp = [0.1, 0.5, 1.0]\n'
        'step_entities = 20\n[arms.control]\nmodel = "old"\n[arms.treatment]\nmodel = "new"\n'
        '[primary]\nname = "correct"\n'
    )
    command = ["experiment", "start", str(file), "--dry-run", "--predictions", location]
    done = CliRunner().invoke(app, [*command, "--to-folder", str(tmp_path / "models")])
    assert done.exit_code == 0, done.output
    assert f"{COUNT:,} stored predictions: {COUNT // 50} without 'customer'" in done.output
    assert "rolled back" in done.output and "betting evidence" in done.output
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("action", "plan"), [("stop", "old"), ("rollback", "old"), ("promote", "new")])
def test_a_dry_run_of_an_end_says_what_the_controller_would_have_decided(tmp_path, action, plan):
    location, folder, file = stored(tmp_path, settled(0.4)), tmp_path / "models", tmp_path / "wine.toml"
    file.write_text(
        'name = "wine-v4"\ndata_type = "wine"\nentity = "customer"\nramp = [0.1, 0.5, 1.0]\n'
        'step_entities = 20\n[arms.control]\nmodel = "old"\n[arms.treatment]\nmodel = "new"\n'
        '[primary]\nname = "correct"\n'
    )
    sent = CliRunner().invoke(app, ["experiment", "start", str(file), "--to-folder", str(folder)])
    assert sent.exit_code == 0, sent.output
    before = sorted(folder.iterdir())
    command = ["experiment", action, "wine-v4", "--data-type", "wine", "--dry-run"]
    done = CliRunner().invoke(app, [*command, "--to-folder", str(folder), "--predictions", location])
    assert done.exit_code == 0, done.output
    assert f'"{plan}"' in done.output and f"{COUNT:,} stored predictions" in done.output
    assert "rolled back" in done.output and "betting evidence" in done.output
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "said", ['"treatment"', '{"arm": "treatment"}', '{"arm": "treatment", "step": "1"}', "7"]
)
def test_what_others_say_of_experiments_without_a_step_is_passed_over(tmp_path, said):
    rows = [one for one in settled(0.4) if one.predicted.entity][:50]
    told = '{"wine-v4": ' + said + "}"
    own = [Settled("", replace(one.predicted, experiments=told), *one_of(one)) for one in rows]
    assert run(stored(tmp_path, own)).events[-1].entities == 0


def test_answers_that_are_none_are_not_asked(tmp_path):
    rows = [one for one in settled(0.4) if one.predicted.entity][:50]
    odd = [Settled("", replace(one.predicted, answers='{"old": 1, "new": []}'), *one_of(one)) for one in rows]
    found = run(stored(tmp_path, odd))
    assert found.unanswered == found.predictions and found.events[-1].entities == 0


def test_the_outcome_goes_by_the_name_of_its_field(tmp_path):
    """As in evidence: a metric that neither every prediction nor the outcome's other fields have."""
    rows = []
    for one in settled(0.8):
        came = one.came and replace(one.came, metrics={"revenue": 1.0})
        rows.append(Settled("", one.predicted, came, one.fate, one.revision, one.replaced))
    location = stored(tmp_path, rows)
    guards = (Metric("revenue", "mean"),)
    found, same = (run(location, primary=Metric(name), guardrails=guards) for name in ("bought", "outcome"))
    assert found.events[-1].arms == same.events[-1].arms
    assert found.events[-1].arms["control"].entities > 100 and "no entity" not in found.events[-1].evidence
    two = run(location, primary=Metric("bought"), guardrails=(Metric("sales", "mean"),)).events[-1]
    assert two.arms["control"].entities == 0 and two.evidence.endswith(
        "no entity had a value of bought, sales"
    )
