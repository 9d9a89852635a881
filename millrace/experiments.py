"""Experiments between models: how they are declared, who gets which arm, and what is said of them.

An experiment is built here or read from TOML, and started with `millrace experiment start`.
"""

from __future__ import annotations

from schemas.lifecycle.experiments import ArmFigures, ExperimentEvent, read_event
from udfs.lifecycle.experiments.arm_plans import plan_of_arm, plan_of_step
from udfs.lifecycle.experiments.assignment import treated, treatment_share
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, Sampling, read_experiment

__all__ = [
    "Arm",
    "ArmFigures",
    "Experiment",
    "ExperimentEvent",
    "Metric",
    "Sampling",
    "plan_of_arm",
    "plan_of_step",
    "read_event",
    "read_experiment",
    "treated",
    "treatment_share",
]
