"""Thompson sampling: shares of arms that follow the probability that each arm is the best one.

Thompson, "On the likelihood that one unknown probability exceeds another in view of the evidence of two
samples" (Biometrika 25, 1933). The posterior of an arm's mean is a Beta distribution over the sums of its
values, scaled to [0, 1] with higher as better, from a uniform prior.

Each treatment is judged against the control as an experiment of two arms is. Shares depend only on what came
before them, so among the entities of these two arms that were drawn with the same shares, the probability
of the treatment is known: its share of both. The tests weigh each entity by its inverse, since sample means
are biased where shares follow outcomes (Nie, Tian, Taylor and Zou, "Why adaptively collected data have
negative bias and how to correct for it", AISTATS 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from udfs.lifecycle.experiments.assignment import shares_of_step
from udfs.lifecycle.experiments.deciding import (
    Decision,
    ExperimentState,
    begin,
    check_outcomes,
    decide,
    final,
)
from udfs.lifecycle.experiments.declaration import Experiment, Metric, Sampling
from udfs.lifecycle.statistics.moments import Moments

_DRAWS = 20_000
"""From the posterior of each arm: a probability is known to 0.4 percentage points then."""


class SampledArms(msgspec.Struct):
    """`shares`: step -> arm -> share. `judged`: treatment -> what is known of it beside the control; one that
    is decided was found worse, and is out. `best`: the treatment that was promoted, until then the one with
    the highest share. `since`: entities since the shares were drawn."""

    shares: dict[int, dict[str, float]]
    judged: dict[str, ExperimentState]
    best: str
    since: int = 0

    @classmethod
    def begun(cls, experiment: Experiment) -> SampledArms:
        """Equal shares, nothing measured."""
        judged = {title: begin(_against_control(experiment, title)) for title in experiment.treatments}
        return cls({0: shares_of_step(experiment, 0)}, judged, experiment.treatments[0])

    @property
    def out(self) -> list[str]:
        """The treatments that were found worse than the control."""
        return [title for title, state in self.judged.items() if state.decided is not None]

    def decide(
        self,
        experiment: Experiment,
        state: ExperimentState,
        titles: NDArray[np.str_],
        outcomes: Mapping[str, NDArray[np.float64]],
        step: int,
        *,
        means: Mapping[str, Moments],
    ) -> Decision:
        """Take in entities that were drawn at a step, each once, and say what to do.

        `titles` of shape (n,): their arms; `outcomes`: metric name -> values (n,), NaN where an entity has
        none; `means`: arm -> the primary metric of all entities, these among them. Raises `ExperimentError`
        as `decide` for two arms.
        """
        if state.decided is not None:
            return state.decided
        check_outcomes(experiment, outcomes, len(titles))
        state.entities += len(titles)
        self.since += len(titles)
        for title in experiment.treatments:
            if title not in self.out and (decision := self._judge(experiment, title, titles, outcomes, step)):
                self.best = title if decision.action == "promote" else self.best
                return final(state, decision.action, decision.metric, decision.evidence)
        said = "; ".join(self._said(title) for title in experiment.treatments)
        if len(self.out) == len(experiment.treatments):
            return final(state, "roll_back", experiment.primary.name, said)
        if state.entities >= experiment.most_entities:
            end = f"{experiment.most_entities} entities without evidence of a gain; {said}"
            return final(state, "roll_back", "end", end)
        assert isinstance(experiment.sampling, Sampling)
        if self.since >= experiment.sampling.every:
            state.step, self.since = state.step + 1, 0
            self.shares[state.step] = self._drawn(experiment, state.step, means)
        return Decision("continue", state.step, experiment.primary.name, said, state.entities)

    def _judge(
        self,
        experiment: Experiment,
        title: str,
        titles: NDArray[np.str_],
        outcomes: Mapping[str, NDArray[np.float64]],
        step: int,
    ) -> Decision | None:
        """What ends the experiment, if this treatment says so."""
        both = (titles == experiment.control) | (titles == title)
        shares, known = self.shares[step], self.judged[title]
        share = shares[title] / (shares[title] + shares[experiment.control])
        of_both = {name: values[both] for name, values in outcomes.items()}
        decision = decide(
            _against_control(experiment, title), known, titles[both] == title, of_both, step, share=share
        )
        if decision.action == "promote" or decision.metric == "shares":
            return msgspec.structs.replace(decision, evidence=f"{title}: {decision.evidence}")
        return None

    def _said(self, title: str) -> str:
        decided = self.judged[title].decided
        if decided is not None:
            return f"{title} is out: {decided.evidence}"
        return f"{title} has {self.shares[max(self.shares)][title]:.1%}"

    def _drawn(self, experiment: Experiment, step: int, means: Mapping[str, Moments]) -> dict[str, float]:
        """The shares of a step. The draws come from its number, so that a restore draws the same."""
        assert isinstance(experiment.sampling, Sampling)
        arms, out, least = experiment.compared, self.out, experiment.sampling.least
        live = [title for title in arms if title not in out]
        seed = blake2b(f"{experiment.own_salt}/{step}".encode(), digest_size=8).digest()
        draws = np.random.default_rng(int.from_bytes(seed, "little"))
        of = [_posterior(draws, experiment.primary, means.get(title, Moments())) for title in live]
        best = np.bincount(np.argmax(of, axis=0), minlength=len(live)) / _DRAWS
        rest = 1 - least * len(arms)
        shares = dict.fromkeys(arms, least)
        shares |= {title: least + rest * float(part) for title, part in zip(live, best, strict=True)}
        treatments = [title for title in live if title != experiment.control]
        self.best = max(treatments, key=shares.__getitem__)
        return shares


def _against_control(experiment: Experiment, title: str) -> Experiment:
    """The experiment of two arms that a treatment is in. Each has its part of alpha (Bonferroni)."""
    return msgspec.structs.replace(
        experiment,
        treatment=title,
        alpha=experiment.alpha / len(experiment.treatments),
        ramp=(1.0,),
        most_entities=experiment.most_entities + 1,  # the end is the whole experiment's
        sampling=msgspec.UNSET,
    )


def _posterior(draws: np.random.Generator, metric: Metric, known: Moments) -> NDArray[np.float64]:
    mean = (known.mean - metric.low) / (metric.high - metric.low) if known.count else 0.0
    good = known.count * (mean if metric.better == "higher" else 1 - mean)
    return draws.beta(1 + good, 1 + known.count - good, _DRAWS)
