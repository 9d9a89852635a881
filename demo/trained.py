"""The trained models of a run, and the rows that none of them was trained on: published, and asked again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from demo.feed import Sent
from demo.judge import Prediction, judge
from demo.plan import Planned
from demo.running import Run
from demo.train import read_data
from demo.verdict import Verdict
from demo.watch import Result
from devservices.process import ROOT
from schemas.results.records import DeadLetter


class TrainedModels:
    """Models come from the cache where they are there. They are published to `models`, a folder of the run.

    Raises `WorkbenchError` where they cannot be trained.
    """

    def __init__(self, run: Run) -> None:
        self.bench = run.workbench()
        self.bench.ask("train_models", cache=str(ROOT / ".cache" / "demo"), seed=run.options.seed)
        said = "Training the models; Flink starts meanwhile"
        with run.console.status(said) if run.console.is_terminal else contextlib.nullcontext():
            self._folder = Path(self.bench.wait(300))
        self.data, self.models = read_data(self._folder), run.work / "models"
        self.asked: list[Planned] = []
        """Those that were to be published, the last of them while the workbench is busy."""

    def publish(self, model: Planned) -> None:
        """Ask for it."""
        self.asked.append(model)
        arguments = ["publish", str(self._folder / model.file), "--data-type", model.data_type]
        arguments += ["--version", str(model.version), "--description", model.about]
        arguments += ["--name", model.name] if model.name else []
        if model.kind != "PMML":  # a PMML file names its fields itself
            [fields] = (one.fields for one in self.data if one.data_type == model.data_type)
            arguments += ["--field", ",".join(fields[: model.fields or None])]
        if model.served:
            self.bench.command(*arguments, "--to-folder", self.models)
        else:
            self.bench.ask("publish_damaged", arguments=arguments, models=str(self.models))

    def judge(self, sent: Iterable[Sent], results: Iterable[Result], dead: Iterable[DeadLetter]) -> Verdict:
        """Hold what came out against what the published models answer here. Raises `WorkbenchError`."""
        self.bench.ask("predict", trained=str(self._folder), models=str(self.models))
        predictions = {
            (one["data_type"], one["version"]): Prediction(one["digest"], one["scores"])
            for one in self.bench.wait(120)
        }
        return judge(sent, results, dead, predictions)
