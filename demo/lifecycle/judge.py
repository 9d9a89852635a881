"""The verdict: records, stamps, arms, decisions and sums, held against what is computed apart from jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from demo.lifecycle.feed import Visit, number_of
from demo.lifecycle.plan import SHORT, TRIALS, Trial
from demo.lifecycle.visits import SCORE, Model, digest
from demo.lifecycle.watch import LifeWatch
from demo.verdict import DOUBLED, LOST, MIS_STAMPED, Verdict
from schemas.plans.plan import Only, Plan, Split, read_plan
from schemas.results.decided import Decided
from schemas.results.records import Outcome
from schemas.results.results import DIGEST_DIGITS
from udfs.io.folder_files import visible_files
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import DECIDE, parse

TOLERANCE = 1e-6
WRONG_ARM = "in another arm than their customer's"
WRONG_PLAN = "decided by another model than their plan's"
DECIDED_OTHERWISE = "experiments decided otherwise than the evidence decides again"
SUMS_OFF = "sums of outcomes that do not hold"


class Judge:
    """`models`: by name, as published; `folder`: the model stream."""

    def __init__(
        self, sent: Sequence[Visit], watch: LifeWatch, models: Mapping[str, Model], folder: Path
    ) -> None:
        self._sent, self._watch, self._models, self._folder = sent, watch, models, folder
        self._digests: dict[str, str] = {}
        self._plans: dict[tuple[str, int], Plan] = {}
        self._arms: dict[tuple[str, int], set[str]] = {}
        self.verdict = Verdict.of(
            LOST, DOUBLED, MIS_STAMPED, WRONG_ARM, WRONG_PLAN, DECIDED_OTHERWISE, SUMS_OFF
        )

    def judge(self) -> Verdict:
        """Once, when all has come out."""
        self.verdict.records = len(self._sent)
        self._digests = {name: digest(model)[:DIGEST_DIGITS] for name, model in self._models.items()}
        found = [parse(path.read_bytes()) for path in visible_files(self._folder)]
        self._plans = {
            (one.name, one.version): read_plan(one.plan) for one in found if one.operation == DECIDE
        }
        self._records()
        for one in self._watch.served.results:
            self._plan_of(one)
            if one.result.outcome is Outcome.SCORED:
                self.verdict.scored += 1
                if said := self.stamp_fault(one):
                    self.verdict.count(MIS_STAMPED, [f"{one.result.record['id']} {said}"])
            else:
                self.verdict.unscored += 1
        for trial in TRIALS:
            self._replay(trial)
        self._sums()
        return self.verdict

    def stamp_fault(self, one: Decided) -> str:
        """What is wrong with the stamp; its score is computed again from the model's own numbers."""
        result, model = one.result, self._models.get(one.result.model)
        visit = self._sent[number_of(result.record["id"])]
        if model is None or model.version != result.version:
            return f"is stamped {result.model} v{result.version}, which was not published"
        if self._digests[model.name] != result.digest:
            return f"has the digest {result.digest} of other content"
        again = self.score_again(one)
        if abs(again - result.scores[SCORE]) > TOLERANCE:
            return f"has the score {result.scores[SCORE]} for {visit.row}; {model.name} gives {again}"
        return ""

    def score_again(self, one: Decided) -> float:
        visit = self._sent[number_of(one.result.record["id"])]
        return float(self._models[one.result.model].probability(np.array([visit.row]))[0])

    def outcome_of(self, one: Decided) -> str:
        return "yes" if self._sent[number_of(one.result.record["id"])].buys else "no"

    def audited(self) -> list[tuple[str, Decided]]:
        """One prediction of each phase: its last that was scored, of a treatment where there is one."""
        found: dict[int, Decided] = {}
        for one in self._watch.served.results:
            phase = self._sent[number_of(one.result.record["id"])].phase
            if SHORT[phase] and one.result.outcome is Outcome.SCORED:
                held = found.get(phase)
                if held is None or _of_treatment(one) or not _of_treatment(held):
                    found[phase] = one
        return [(SHORT[phase], one) for phase, one in sorted(found.items())]

    def _records(self) -> None:
        seen = Counter(number_of(one.result.record["id"]) for one in self._watch.served.results)
        starts = {v.number: v.spoiled for v in self._sent}
        self.verdict.count(DOUBLED, sum(n - 1 for n in seen.values()))
        good = {number for number, spoiled in starts.items() if not spoiled}
        self.verdict.count(LOST, len(good - set(seen)))
        self.verdict.count(LOST, abs(len(starts) - len(good) - len(self._watch.served.dead)))

    def _plan_of(self, one: Decided) -> None:
        """Whether plan, experiment, arm, step and model of a stamp belong together, and to the customer."""
        name = one.result.record["id"]
        visit = self._sent[number_of(name)]
        plan = self._plans.get((one.plan, one.plan_version))
        if plan is None:
            # before the first plan came the default was in force
            if one.plan or one.result.experiments:
                self.verdict.count(WRONG_PLAN, [f"{name} was decided by an unknown plan {one.plan!r}"])
            return
        arm, expected = "", plan
        if isinstance(plan.experiment, Split):
            split = plan.experiment
            trial = next(t for t in TRIALS if t.name == split.name)
            hit = visit.customer in self._treated(trial, split.step)
            arm, expected = next((a.name, a.plan) for a in split.arms if (a.name == "treatment") == hit)
            if one.result.experiments != {split.name: (arm, split.step)}:
                said = f"{visit.customer} is in {one.result.experiments}, and belongs to {arm!r}"
                self.verdict.count(WRONG_ARM, [said])
        elif one.result.experiments:
            self.verdict.count(WRONG_ARM, [f"{visit.customer} is in an arm of a plan that has none"])
        if one.result.outcome is Outcome.SCORED and not _may_decide(expected, one.result.model):
            self.verdict.count(WRONG_PLAN, [f"{name} was decided by {one.result.model}, not by its arm"])

    def _treated(self, trial: Trial, step: int) -> set[str]:
        """The customers that the declaration puts into the treatment at a step."""
        if (trial.name, step) not in self._arms:
            customers = list({visit.customer for visit in self._sent})
            hits = treated(trial.declared, [one.encode() for one in customers], step).tolist()
            found = {one for one, hit in zip(customers, hits, strict=True) if hit}
            self._arms[trial.name, step] = found
        return self._arms[trial.name, step]

    def _replay(self, trial: Trial) -> None:
        """The evidence once more, through the code that decides: the same plans, in the same order."""
        last = self._watch.last(trial.name)
        versions = sorted(version for name, version in self._plans if name == trial.name)
        if last is None or last.kind != trial.ends or not versions:
            said = "never ended" if last is None else f"was {last.kind}: {last.reason or last.evidence}"
            self.verdict.count(DECIDED_OTHERWISE, [f"{trial.name} {said}"])
            return
        again = Controller(CountedInMemory())
        order = write_order(Order("start", trial.declared))
        made = list(again.order(trial.declared.data_type, trial.name, order, versions[0], last.at))
        mine = [
            batch for batch, at in self._watch.evidence if batch.experiment == trial.name and at <= last.at
        ]
        for batch in mine:
            made += again.evidence(batch, last.at)
        plans = {one.version: read_plan(one.plan) for one in made if isinstance(one, PlanOrdered)}
        written = {version: self._plans[trial.name, version] for version in versions}
        if plans != written:
            said = f"{trial.name}: decided again, it has plans {sorted(plans)}, written {versions}"
            self.verdict.count(DECIDED_OTHERWISE, [said])

    def _sums(self) -> None:
        """Outcomes that the job has joined, by its own count, by model, and by what was written."""
        written = sum(not visit.spoiled for visit in self._sent)
        if self._watch.joined != written:
            said = f"{self._watch.joined:,} outcomes were joined, {written:,} were written"
            self.verdict.count(SUMS_OFF, [said])
        if self._watch.judged_by_model != self._watch.joined:
            said = f"models have {self._watch.judged_by_model:,} outcomes"
            self.verdict.count(SUMS_OFF, [f"{said}, and {self._watch.joined:,} were joined"])


def _of_treatment(one: Decided) -> bool:
    return any(arm == "treatment" for arm, _ in one.result.experiments.values())


def _may_decide(plan: Plan, model: str) -> bool:
    return not isinstance(plan.route, Only) or model in plan.route.candidates
