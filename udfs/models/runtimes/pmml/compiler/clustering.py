"""ClusteringModel with centers: the nearest one."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import array_numbers, choice, refuse, required
from udfs.models.runtimes.pmml.compiler.measures import fields_of, measure
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import numeric
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, labels_of

_CENTER = ("true", "1")


def compile_clustering(place: Place) -> Scorer:
    """A center-based ClusteringModel. Its predicted value is the id of a cluster (PMML 4.4, Cluster Models),
    of one without an id its name, as in the libraries that write it so, else its number.
    """
    place.expect("clustering")
    element = place.element
    choice(element, "modelClass", ("centerBased",))
    fields = [f for f in element.findall("ClusteringField") if f.get("isCenterField", "true") in _CENTER]
    symbols = [place.scope.find(f.get("field")) for f in fields]
    clusters = element.findall("Cluster")
    if not clusters or not fields:
        refuse("a ClusteringModel has no clusters or no fields")
    centers = np.array([_center(c, len(fields)) for c in clusters])
    weights = element.find("MissingValueWeights")
    adjust = np.ones(len(fields)) if weights is None else array_numbers(required(weights, "Array"))
    if len(adjust) != len(fields):
        refuse("the weights of missing values are not as many as the fields")
    ids = tuple(c.get("id", str(k)) for k, c in enumerate(clusters, 1))
    if len(set(ids)) < len(ids):
        refuse("two clusters have one id")
    names = tuple(c.get("id") or c.get("name") or i for c, i in zip(clusters, ids, strict=True))
    titles = {name: c.get("name") or name for c, name in zip(clusters, names, strict=True)}
    for symbol in symbols:
        numeric(symbol, element)
    how = measure(required(element, "ComparisonMeasure"), fields, symbols)
    columns = fields_of(symbols, how)
    columns.check_points(centers)
    if how.tolerant:
        place.scope.reading.tolerant |= {s.name for s in symbols}

    def score(batch: Batch) -> Result:
        affinity = how.values(columns.matrix(batch), centers, adjust)
        lacking = np.isnan(affinity).any(axis=1)
        farness = how.farness(affinity)
        label = np.where(lacking, -1, np.argmin(farness, axis=1))

        def ranked(rank: int) -> NDArray[np.int64]:
            """Which cluster is the `rank`th, of equals the earlier one first."""
            if rank == 1:
                return label
            return np.where(lacking, -1, np.argsort(farness, axis=1, kind="stable")[:, rank - 1])

        def entity(rank: int) -> Column:
            return labels_of(ranked(rank), ids)

        def nearness(rank: int) -> NDArray[np.float64]:
            return affinity[np.arange(batch.count), ranked(rank)]

        return Result(label=label, affinity=affinity, entity=entity, nearness=nearness)

    return Scorer("clustering", score, categories=names, titles=titles, entities=len(ids), near=True,
                  affinities=ids)  # fmt: skip


def _center(cluster: ET.Element, size: int) -> np.ndarray:
    values = array_numbers(required(cluster, "Array"))
    if len(values) != size:
        refuse(f"a cluster's center has {len(values)} numbers for {size} fields")
    return values
