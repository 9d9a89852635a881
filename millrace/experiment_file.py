"""An experiment from a TOML or Python file."""

from __future__ import annotations

import runpy
from pathlib import Path

from schemas.errors import ExperimentError
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.declaration import Experiment, check_new, read_experiment


def load_experiment(path: Path) -> Experiment:
    """From `.toml`, or from a `.py` that has `EXPERIMENT`; a Python file is executed. Its plans are checked.

    Raises `ExperimentError` with the file.
    """
    try:
        if path.suffix == ".toml":
            found = read_experiment(path.read_bytes())
        elif path.suffix == ".py":
            found = _python(path)
        else:
            raise ExperimentError("an experiment is in a .toml or a .py file")
        check_new(found)
        plan_of_step(found, 0)
    except ExperimentError as e:
        raise ExperimentError(f"{path}: {e}") from e
    return found


def _python(path: Path) -> Experiment:
    try:
        found = runpy.run_path(str(path)).get("EXPERIMENT")
    except ExperimentError:
        raise
    except Exception as e:  # the user's file may raise anything
        raise ExperimentError(f"{type(e).__name__}: {e}") from e
    if not isinstance(found, Experiment):
        raise ExperimentError("EXPERIMENT is not in it, or is no millrace.experiments.Experiment")
    return found
