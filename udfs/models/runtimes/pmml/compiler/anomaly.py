"""AnomalyDetectionModel: isolation forests, scored by the mean depth at which their trees isolate a row."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.elements import choice, number, refuse
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column, numbers_of


def compile_anomaly(place: Place) -> Scorer:
    """An isolation forest: `2 ** (-depth / c(n))`, where c is the mean depth of a tree over n rows."""
    from udfs.models.runtimes.pmml.compiler.model import MODELS  # noqa: PLC0415 - they compile each other

    place.expect("regression")
    choice(place.element, "algorithmType", ("iforest",))
    inner = [e for e in place.element if e.tag in MODELS]
    if len(inner) != 1:
        refuse(f"an AnomalyDetectionModel holds {len(inner)} known models")
    size = number(place.element, "sampleDataSize")
    if size <= 2:
        refuse(f"an isolation forest was trained on {size} rows")
    expected = 2.0 * (math.log(size - 1.0) + np.euler_gamma) - 2.0 * (size - 1.0) / size
    depths = place.compile(inner[0], place.scope).scorer
    if depths.function != "regression":
        refuse("the model of an isolation forest is no regression")

    def score(batch: Batch) -> Result:
        value = depths.result(batch).value
        assert value is not None
        return Result(value=number_column(np.exp2(-numbers_of(value, batch.count) / expected)))

    return replace(Scorer("regression", score), segments=dict(depths.segments))
