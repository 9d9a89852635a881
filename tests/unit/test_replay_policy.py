"""Recorded results decided once more: with a truth at hand the better plan shows."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from typer.testing import CliRunner

from millrace.cli import app
from millrace.score_sheet import same_scores
from schemas.plans.plan import Fallback, Plan, Policy, Prefer, write_plan
from schemas.results.answers import Asked
from schemas.results.decided import AnswerState, DecidedStamp, Part, Reported, read_decided, write_decided
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, write_results
from tests.decision_strategies import batches, policies
from tests.outcome_cases import MemoryStore, batch
from udfs.ensemble.policies import BatchAnswers, decide
from udfs.ensemble.policies.replay import redecide
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.joining import Joining, Terms
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.progress import END
from udfs.lifecycle.outcomes.reading import Reader
from udfs.lifecycle.outcomes.rows import to_rows

N = 8
JUDGING = Judging("class", "truth", kind="numbers", fields={"id": "int64"})
AT = 1_700_000_000_000
TRUTH = np.arange(N) % 3
WRONG = (TRUTH + 1) % 3


def reported(candidate: str, labels, state=AnswerState.SCORED, waited_ms=10.0, **more) -> Reported:
    everything = np.ones(N, dtype=bool)
    scored = everything if labels is not None else ~everything
    columns = {} if labels is None else {"class": np.asarray(labels)}
    return Reported(candidate, state, everything, scored, columns, {}, 3, "ab" * 32, 1.0, waited_ms, **more)


ANSWERS = [
    reported("fast", WRONG),  # always wrong
    reported("smart", TRUTH, waited_ms=40.0),  # always right
    reported("third", np.where(np.arange(N) < 6, TRUTH, WRONG), waited_ms=60.0),
    reported("slow", TRUTH, AnswerState.LATE, waited_ms=130.0),
    reported("dead", None, AnswerState.LATE, waited_ms=None),
]


def lines(answers=ANSWERS, data_type="wine") -> list[bytes]:
    """Results in which the answer of `fast` decided."""
    part = Part(np.arange(N), answers[0].columns, "fast", "first")
    records = [orjson.dumps({"id": k, "truth": int(t)}) for k, t in enumerate(TRUTH)]
    identity = Identity("wines", [0] * N, list(range(N)), [AT] * N)
    return write_decided(records, DecidedStamp(data_type, "old", 1, 100, 5.0), identity, [part], answers)[0]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "part-0").write_bytes(b"\n".join(lines()[:5]) + b"\n")
    (folder / "part-1").write_bytes(b"\n".join(lines()[5:]) + b"\n")
    plan = tmp_path / "plan.json"

    def invoke(policy: Policy | dict, *arguments, **more):
        plan.write_bytes(
            write_plan(Plan(policy=policy, **more)) if isinstance(policy, Policy) else orjson.dumps(policy)
        )
        given = {"--from-folder", "--from-store"}.intersection(map(str, arguments))
        source = [] if given else ["--from-folder", folder]
        return CliRunner().invoke(app, ["replay-policy", *map(str, (plan, *source, *arguments))])

    return invoke


RANKED = ("dead", "slow", "third", "smart", "fast")
SMART = Prefer(candidates=("smart", "fast"))
MAJORITY = {"policy": "majority", "output": "class"}


def test_a_better_plan_shows_in_the_accuracy(run):
    done = run(SMART, "--label", "truth", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["records"], found["changed"]) == (N, N)
    assert found["recorded"] == {"decided": N, "undecided": 0, "wins": {"fast": N}}
    assert found["replayed"] == {"decided": N, "undecided": 0, "wins": {"smart": N}}
    judged = found["judged"]
    assert (judged["recorded"]["accuracy"], judged["replayed"]["accuracy"]) == (0.0, 1.0)
    assert judged["replayed"]["error"] == 0.0
    assert judged["alone"]["third"] == {"records": N, "accuracy": 0.75, "error": 0.25}
    assert judged["alone"]["slow"]["accuracy"] == 1.0
    assert judged["alone"]["dead"] == {"records": 0, "accuracy": None, "error": None}


def test_a_prediction_store_gives_what_its_results_give(run, tmp_path):
    """Each prediction counts once, with its latest outcome; one has none."""
    reader = Reader({"wine": JUDGING}, 1, 1)
    came = [
        {"source": "wines", "partition": 0, "offset": k, "truth": int(t)} for k, t in enumerate(TRUTH[:-1])
    ]
    wrong = [{**one, "truth": 9} for one in came[:3]]
    store, fates = MemoryStore(), Fates()
    joining = Joining(Terms(window=1_000), store, fates, 0)
    for delivery in reader.results(batch(lines())).deliveries.values():
        joining.results(delivery)
    for first, time, some in ((0, AT + 1, wrong), (10, AT + 2, came), (20, AT, wrong[:1])):
        for delivery in reader.outcomes(batch(some, time, first=first)).deliveries.values():
            joining.outcomes(delivery)
    settled = joining.done().settled
    joining.close(END, END)
    settled += joining.done().settled
    rows = pa.Table.from_batches([to_rows(settled, JUDGING, 0)])
    assert len(rows) == N + len(wrong) + 1
    folder = tmp_path / "store" / "wine" / "dt=2023-11-14" / "model=fast"
    folder.mkdir(parents=True)
    pq.write_table(rows.drop_columns(["model"]), folder / "part-0")

    def found(*arguments):
        done = run(SMART, *arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    (tmp_path / "results" / "part-1").write_bytes(b"\n".join(lines()[5:-1]) + b"\n")
    judged = found("--label", "truth")["judged"]
    stored = found("--from-store", tmp_path / "store" / "wine", "--label", "outcome")
    assert stored["judged"] == judged and (stored["records"], stored["changed"]) == (N, N)


def test_the_table_names_everyone(run):
    done = run({"policy": MAJORITY}, "--label", "truth")
    assert done.exit_code == 0, done.output
    rows = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert f"{N} records, 6 changed" in rows
    assert f"combined, or a fixed value 0 {N}" in rows
    assert f"decided by fast {N} 0" in rows
    assert f"replayed decision {N} 0.7500 0.2500" in rows
    assert "dead alone 0 - -" in rows


def test_the_same_plan_changes_nothing(run):
    found = json.loads(run({"policy": {"policy": "first"}}, "--json").stdout)
    assert (found["changed"], found["replayed"]) == (0, found["recorded"])


@pytest.mark.parametrize(
    ("deadline", "wins"),
    [(100, "third"), (130, "slow"), (129, "third"), (59, "smart"), (5, "")],
)
def test_the_deadline_says_who_is_late(run, deadline, wins):
    policy = Prefer(candidates=RANKED, otherwise=Fallback(value={"class": 0}))
    found = json.loads(run(policy, "--deadline-ms", deadline, "--json").stdout)
    assert found["replayed"]["wins"] == {wins: N}
    assert json.loads(run(policy, "--json", deadline_ms=deadline).stdout) == found


def test_the_new_plan_says_who_is_a_shadow(run, tmp_path):
    path = tmp_path / "one"  # with a shadow that the new plan lets decide
    path.write_bytes(b"\n".join(lines([ANSWERS[0], reported("smart", TRUTH, shadow=True)])))
    found = json.loads(run(SMART, "--from-folder", path, "--json").stdout)
    assert found["replayed"]["wins"] == {"smart": N}


def test_quality_metrics_are_given(run):
    policy = {"policy": {"policy": "best_quality", "metric": "accuracy"}}
    done = run(policy, "--metric", "fast:accuracy=0.1", "--metric", "smart:accuracy=0.9", "--json")
    assert json.loads(done.stdout)["replayed"]["wins"] == {"smart": N}
    missing = run(policy)
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)
    assert "--metric CANDIDATE:accuracy=VALUE" in missing.stderr
    assert run(policy, "--metric", "accuracy=1").exit_code == 2


def test_one_file_will_do_and_other_lines_are_passed_over(run, tmp_path):
    stamp = Stamp("wine", "forest", 3, "ab" * 32, Outcome.SCORED, 1.25)
    other = write_results([b"{}"], stamp, Identity("w", [0], [0], [0]), {"class": np.array([1])})
    path = tmp_path / "one"
    path.write_bytes(b"\n".join([*lines(), *other, b"nonsense"]))
    done = run(SMART, "--from-folder", path, "--json")
    assert json.loads(done.stdout)["records"] == N
    assert done.stderr == "2 lines are no decided results, and were passed over.\n"


def test_what_was_not_waited_for_is_said(run, tmp_path):
    path = tmp_path / "one"
    path.write_bytes(b"\n".join(lines([ANSWERS[0], reported("smart", None, AnswerState.PENDING, None)])))
    done = run(SMART, "--from-folder", path, "--json")
    assert json.loads(done.stdout)["replayed"]["wins"] == {"fast": N}
    assert f"Of {N} records answers were not waited for" in done.stderr


def test_one_data_type_at_a_time(run, tmp_path):
    path = tmp_path / "two"
    path.write_bytes(b"\n".join([*lines(), *lines(data_type="beer")]))
    done = run(SMART, "--from-folder", path)
    assert (done.exit_code, "--data-type" in done.stderr) == (1, True)
    chosen = run(SMART, "--from-folder", path, "--data-type", "beer", "--json")
    assert json.loads(chosen.stdout)["records"] == N


@pytest.mark.parametrize(
    ("plan", "arguments", "said"),
    [
        ({"policy": {"policy": "best"}}, (), "of no use as a plan"),
        ({"policy": {"policy": "prefer"}}, (), "must name at least one candidate"),
        ({}, ("--data-type", "tea"), "no decided results of the data type 'tea'"),
        ({}, ("--label", "price"), "has the field 'price'"),
        ({}, ("--from-folder", "absent"), "no folder absent"),
    ],
)
def test_errors_are_one_sentence(run, plan, arguments, said):
    done = run(plan, *arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output
    assert said in done.stderr


def test_which_output_is_asked_where_it_is_not_clear(run, tmp_path):
    all_ = np.ones(N, dtype=bool)
    more = Reported("two", AnswerState.SCORED, all_, all_, {"class": TRUTH, "p": TRUTH / 4}, waited_ms=1.0)
    path = tmp_path / "one"
    path.write_bytes(b"\n".join(lines([*ANSWERS, more])))
    arguments = (SMART, "--from-folder", path, "--label", "truth", "--json")
    assert "the outputs are class, p: say which with --output" in run(*arguments).stderr
    judged = json.loads(run(*arguments, "--output", "p").stdout)["judged"]
    assert judged["alone"]["two"]["error"] == pytest.approx(np.mean(TRUTH * 0.75))


@given(policy=policies, made=batches())
@settings(max_examples=200)
def test_a_replay_of_the_same_policy_decides_the_same(policy, made):
    asked, n, answers, metrics = made
    asked = [Asked(a.candidate, a.rows) for a in asked]
    known = BatchAnswers.of(asked, n, answers, metrics)
    decision = decide(policy, known)
    identity = Identity("w", [0] * n, [0] * n, [0] * n)
    stamp = DecidedStamp("t", "p", 1, 100, 1.0)
    written, _ = write_decided([b"{}"] * n, stamp, identity, decision.parts, known.reported(final=True))
    recorded = [read_decided(line) for line in written]
    again = redecide(recorded, Plan(policy=policy), metrics)
    for old, new in zip(recorded, again, strict=True):
        assert (old.result.model, old.rule) == (new.by, new.rule)
        assert same_scores(old.result.scores, new.scores)
