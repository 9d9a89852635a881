"""Which arm an entity is in: by a sticky hash with the experiment's own salt.

Weighted rendezvous hashing (`udfs.ensemble.routing.sticky_hash`): the same in every process and every job,
and a larger share only draws entities in. Other salts give independent draws, so that the arms of experiments
that run at once are independent of each other, factorial ones too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from udfs.ensemble.routing.sticky_hash import draw
from udfs.lifecycle.experiments.declaration import Experiment


def treatment_share(experiment: Experiment, step: int) -> float:
    """The treatment's share at a step of the ramp, counted from 0. Raises `ExperimentError` for no step."""
    if not 0 <= step < len(experiment.ramp):
        raise ExperimentError(f"{experiment.name} has {len(experiment.ramp)} steps, and no step {step}")
    # of pairs everyone gets both, and the draw between two equal plans means nothing
    return 0.5 if experiment.paired else experiment.share * experiment.ramp[step]


def treated(experiment: Experiment, entities: Sequence[bytes], step: int) -> NDArray[np.bool_]:
    """For each entity whether it gets the treatment; of shape (n,)."""
    share = treatment_share(experiment, step)
    # names that sort as they do here, whatever the arms are called: a draw must not change with a name
    return draw(entities, {"0": 1 - share, "1": share}, experiment.own_salt) == 1
