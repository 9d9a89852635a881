"""Quality since the start as gauges of Flink, by model version."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pyflink.metrics import MetricGroup

from schemas.lifecycle.quality import QualityRecord
from udfs.lifecycle.outcomes.version_figures import VersionFigures


class QualityGauges:
    """`outcomes`, `coverage_millionths`, and `accuracy_millionths` or `mae_millionths`, in groups of data
    type, model and version.

    PyFlink's gauges are whole numbers, hence the unit. In thread mode another thread asks, else
    the end of each bundle: what was told is looked up then, and nothing is counted.
    """

    def __init__(self, group: MetricGroup) -> None:
        self._group, self._figures = group, VersionFigures()

    def tell(self, records: Iterable[QualityRecord]) -> None:
        figures = self._figures
        for version, name in figures.take(records):
            group = self._group.add_group("data_type", version.data_type).add_group("model", version.model)
            group = group.add_group("version", str(version.version))
            group.gauge(name, partial(figures.figure, version, name))
