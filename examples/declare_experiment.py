"""An experiment between two models: `python examples/declare_experiment.py` says whom it would treat.

It is started with `millrace experiment start examples/declare_experiment.py --bootstrap HOST:PORT`.
"""

from __future__ import annotations

from millrace.experiments import Arm, Experiment, Metric, treated, treatment_share

EXPERIMENT = Experiment(
    name="wine-v4",
    data_type="wine",
    entity="customer",
    arms={"control": Arm(model="wine-3", version=3), "treatment": Arm(model="wine-4", version=4)},
    primary=Metric("correct"),
    guardrails=(Metric("latency", kind="quantile", better="lower", q=0.99, tolerance=5.0),),
)


def main() -> None:
    customers = [f"customer-{number}".encode() for number in range(10_000)]
    for step in range(len(EXPERIMENT.ramp)):
        share, hit = treatment_share(EXPERIMENT, step), int(treated(EXPERIMENT, customers, step).sum())
        print(f"step {step + 1}: {share:.0%} of the customers, {hit} of {len(customers)}")


if __name__ == "__main__":
    main()
