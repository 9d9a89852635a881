"""The demo of a model's life without its jobs: models are as it says, and its judge finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from demo.lifecycle import train
from demo.lifecycle.feed import DELAY_S, Visit, VisitFeed, name_of
from demo.lifecycle.judge import DECIDED_OTHERWISE, SUMS_OFF, WRONG_ARM, WRONG_PLAN, Judge
from demo.lifecycle.plan import TRIALS, WORSE_TRIAL, first_plan
from demo.lifecycle.stages import LifeSteps, VisitFlow
from demo.lifecycle.visits import BETTER, FIRST, SCORE, WORSE, Model, Visits, digest, trained
from demo.lifecycle.watch import LifeWatch
from demo.verdict import DOUBLED, LOST, MIS_STAMPED
from demo.watch import Served
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.plans.plan import write_plan
from schemas.results.decided import Decided, read_decided
from schemas.results.records import Outcome
from schemas.results.results import Scored
from tests.whole_files import put
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.models.descriptor import DECIDE, build

MODELS = {model.name: model for model in (FIRST, WORSE, BETTER)}


def right(model: Any, rows: Any, buys: Any) -> float:
    return float(((model.probability(rows) >= 0.5) == buys).mean())


def test_the_models_are_as_good_as_the_story_says():
    visits = Visits(np.random.default_rng(0))
    _, rows, buys = visits.draw(5000)
    assert right(WORSE, rows, buys) + 0.1 < right(FIRST, rows, buys) < right(BETTER, rows, buys) - 0.08
    visits.drift()
    _, rows, buys = visits.draw(5000)
    assert right(BETTER, rows, buys) < right(trained(rows[:1500], buys[:1500]), rows, buys) - 0.2


def test_an_order_that_is_refused_is_not_the_last_that_was_said_of_an_experiment(tmp_path: Path):
    watch = LifeWatch(*(tmp_path / name for name in ("serving", "judged", "trial", "watched")))
    heard = watch.experiments[WORSE_TRIAL.name]
    for at, kind in enumerate(("refused", "started", "refused", "rolled_back", "refused")):
        heard.append(ExperimentEvent(kind=kind, experiment=WORSE_TRIAL.name, data_type="visit", at=at))
        expected = ("refused", "started", "started", "rolled_back", "rolled_back")[at]
        assert watch.last(WORSE_TRIAL.name).kind == expected
    assert watch.last("none") is None


class Watch:
    """What the judge reads of a `LifeWatch`, of one data type without experiments that ended."""

    def __init__(self, decided: list[Decided]) -> None:
        self.served = Served(Path(), lambda line, visible: read_decided(line), decided)
        self.evidence: list[Any] = []
        self.quality: dict[str, Any] = {}
        self.joined = self.judged_by_model = len(decided)

    def last(self, name: str) -> None:
        return None


def decided(visit: Visit, model: Any, **changes: Any) -> Decided:
    score = float(model.probability(np.array([visit.row]))[0])
    result = Scored(
        data_type="visit", outcome=Outcome.SCORED, model=model.name, version=model.version,
        digest=digest(model)[:16], ms=1.0, scores={SCORE: score}, source="s", partition=0, offset=0,
        event_time=0, record={"id": name_of(visit.number)}, experiments=changes.pop("experiments", {}),
    )  # fmt: skip
    values = {"rule": "first", "plan": "worse-canary", "plan_version": 7, "deadline_ms": 500, "answers": {}}
    return Decided(result, **{**values, **changes})


@pytest.fixture
def story(tmp_path: Path) -> tuple[list[Visit], list[Decided], Path]:
    """200 visits at the second step of the first experiment, all as it should be."""
    visits = Visits(np.random.default_rng(1))
    names, rows, buys = visits.draw(200)
    sent = [Visit(k, names[k], tuple(rows[k].tolist()), bool(buys[k]), 3, False) for k in range(200)]
    arms = treated(WORSE_TRIAL.declared, [name.encode() for name in names], 1)
    found = [
        decided(
            visit,
            WORSE if arm else FIRST,
            experiments={"worse-canary": ("treatment" if arm else "control", 1)},
        )
        for visit, arm in zip(sent, arms.tolist(), strict=True)
    ]
    plans = [
        ("plan", 1, first_plan()),
        ("worse-canary", 7, write_plan(plan_of_step(WORSE_TRIAL.declared, 1)).decode()),
    ]
    for name, version, plan in plans:
        descriptor = build(data_type="visit", name=name, version=version, operation=DECIDE, plan=plan)
        put(tmp_path / f"{name}.model", descriptor)
    return sent, found, tmp_path


def judged(sent: list[Visit], found: list[Decided], folder: Path) -> Any:
    return Judge(sent, cast(Any, Watch(found)), MODELS, folder).judge()


def test_what_is_as_it_should_be_is_found_right(story):
    verdict = judged(*story)
    assert (verdict.faults[LOST], verdict.faults[DOUBLED], verdict.faults[MIS_STAMPED]) == (0, 0, 0)
    assert (verdict.faults[WRONG_ARM], verdict.faults[WRONG_PLAN], verdict.scored) == (0, 0, 200)
    assert verdict.faults[DECIDED_OTHERWISE] == len(TRIALS) and not verdict.good  # none of them has ended


def test_a_wrong_stamp_arm_plan_or_count_is_found(story):
    sent, found, folder = story
    other = next(k for k, one in enumerate(found) if one.result.experiments["worse-canary"][0] == "control")
    wrong = list(found)
    wrong[other] = decided(sent[other], WORSE, experiments=found[other].result.experiments)
    assert judged(sent, wrong, folder).faults[WRONG_PLAN] == 1
    wrong[other] = decided(sent[other], FIRST, experiments={"worse-canary": ("treatment", 1)})
    assert judged(sent, wrong, folder).faults[WRONG_ARM] == 1
    wrong[other] = decided(sent[other], FIRST, experiments=found[other].result.experiments, plan="none")
    assert judged(sent, wrong, folder).faults[WRONG_PLAN] == 1
    assert judged(sent, [*found, found[0]], folder).faults[DOUBLED] == 1
    verdict = judged(sent, found[1:], folder)
    assert (verdict.faults[LOST], verdict.faults[SUMS_OFF]) == (1, 1)
    object.__setattr__(found[other].result, "scores", {SCORE: 0.123})
    assert judged(sent, found, folder).faults[MIS_STAMPED] == 1


class Counts:
    """What the flow of visits reads of a `LifeWatch`."""

    def __init__(self) -> None:
        self.served = Served(Path(), lambda line, visible: line)
        self.joined = self.judged_by_model = 0


def test_visits_flow_until_all_is_over_and_then_their_outcomes(tmp_path: Path):
    feed, watch = VisitFeed(tmp_path / "records", tmp_path / "outcomes", 0), Counts()
    flow = VisitFlow(feed, cast(Any, watch), 100, ends=2)
    assert flow.flow(10.0, 0, hold=True) and not feed.sent
    flow.flow(10.1, 1, hold=True)
    assert len(feed.sent) == 60  # at most three looks at once
    flow.flow(10.2, 1, hold=True)
    assert len(feed.sent) == 60
    flow.flow(10.4, 1, hold=False)
    assert len(feed.sent) == 90
    watch.served.results = [b""] * 90
    watch.joined = 1
    assert flow.progress() == 0
    flow.flow(10.6, 2, hold=False)
    assert len(feed.sent) == 90 and feed.outstanding == 90 and flow.progress() == 1
    good = sum(not visit.spoiled for visit in feed.sent)
    watch.joined = watch.judged_by_model = good
    assert not flow.settled()
    flow.flow(10.6 + DELAY_S, 2, hold=False)
    assert not feed.outstanding and flow.settled()
    watch.judged_by_model -= 1
    assert not flow.settled()
    watch.judged_by_model, watch.served.results = good, [b""] * 89
    assert not flow.settled()


def test_the_third_model_is_published_when_the_training_command_is_done(tmp_path: Path):
    asked: list[tuple[Any, ...]] = []
    bench = type("Bench", (), {"command": lambda self, *arguments: asked.append(arguments)})()
    steps = LifeSteps(cast(Any, bench), cast(Any, None), tmp_path / "models", tmp_path)
    assert steps.publish_trained() is False and not asked
    numbers = {"about": "trained on 7 visits", "weights": [1, 2, 3, 4], "intercept": 0.5}
    steps.trained.write_text(json.dumps(numbers))
    assert steps.publish_trained() is True
    assert steps.models == {"retrained": Model("retrained", 4, "trained on 7 visits", (1, 2, 3, 4), 0.5)}
    steps.start(WORSE_TRIAL)
    steps.plan()
    to = ("--to-folder", tmp_path / "models")
    published, started, plan = asked
    about = (
        "--data-type",
        "visit",
        "--name",
        "retrained",
        "--version",
        "4",
        "--description",
        "trained on 7 visits",
    )
    assert published == ("publish", tmp_path / "retrained.pmml", *about, *to)
    assert started == ("experiment", "start", tmp_path / "worse-canary.toml", *to)
    assert plan == ("plan", tmp_path / "plan.json", "--data-type", "visit", "--version", "1", *to)


def test_the_training_command_takes_what_is_new_with_what_came_of_it(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(train, "RETRAIN_ON", 300)
    feed = VisitFeed(tmp_path / "records", tmp_path / "outcomes", 0)
    monkeypatch.setattr(train.time, "time", lambda: 0.0)  # all is from then on
    feed.write(400, 1, 0.0)
    feed.tell(DELAY_S, 1, 400)
    train.main(tmp_path / "records", tmp_path / "outcomes", tmp_path / "retrained.json")
    model = train.read_trained(tmp_path / "retrained.json", "retrained", 4)
    good = sum(not visit.spoiled for visit in feed.sent)
    assert good < 400 and model.about == f"trained on {good} visits"
    assert len(model.weights) == 4 and model.weights[0] > 0 > model.weights[1]
