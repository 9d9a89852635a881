"""Which arm an entity is in: by a sticky hash with the experiment's own salt.

Weighted rendezvous hashing (`udfs.ensemble.routing.sticky_hash`): the same in every process and every job,
and a larger share only draws entities in. Other salts give independent draws, so that the arms of experiments
that run at once are independent of each other. Those of one data type share no entity: each has a population.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from udfs.ensemble.routing.sticky_hash import draw_place, places, within
from udfs.lifecycle.experiments.declaration import Experiment


def treatment_share(experiment: Experiment, step: int) -> float:
    """The treatment's share at a step of the ramp, counted from 0. Raises `ExperimentError` for no step."""
    if not 0 <= step < len(experiment.ramp):
        raise ExperimentError(f"{experiment.name} has {len(experiment.ramp)} steps, and no step {step}")
    # of pairs everyone gets both, and the draw between two equal plans means nothing
    return 0.5 if experiment.paired else experiment.share * experiment.ramp[step]


def shares_of_step(experiment: Experiment, step: int) -> dict[str, float]:
    """Arm -> share at a step that is known from the declaration: of a ramp, or the first one of sampling,
    where shares are equal. The control comes first. Raises `ExperimentError` for no such step."""
    if experiment.sampling:
        if step:
            raise ExperimentError(f"{experiment.name} draws the shares of step {step} from what it has seen")
        return dict.fromkeys(experiment.compared, 1 / len(experiment.compared))
    share = treatment_share(experiment, step)
    return {experiment.control: 1 - share, experiment.treatment: share}


def in_population(experiment: Experiment, entities: Sequence[bytes]) -> NDArray[np.bool_]:
    """For each entity whether the experiment is about it; of shape (n,)."""
    return within(places(entities, experiment.data_type), experiment.part)


def drawn(experiment: Experiment, entities: Sequence[bytes], shares: Mapping[str, float]) -> NDArray[np.intp]:
    """For each entity of the population the place of its arm in `shares`; of shape (n,)."""
    return draw_place(entities, shares.values(), experiment.own_salt)


def treated(experiment: Experiment, entities: Sequence[bytes], step: int) -> NDArray[np.bool_]:
    """For each entity whether it gets a treatment at a step that `shares_of_step` knows; of shape (n,)."""
    in_treatment = drawn(experiment, entities, shares_of_step(experiment, step)) > 0
    return in_treatment & in_population(experiment, entities)
