"""The types of records that are streamed, and their models, in the order in which `serve` publishes them."""

from __future__ import annotations

from dataclasses import dataclass

TARGET = "kind"
"""What the models predict: a PMML model answers `predicted_kind`, the others one `probability` a class."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """The part of a data set that no model was trained on: `rows` of `(n, len(fields))`, a label each."""

    data_type: str
    fields: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """One model to publish. `file` is its name in the folder of trained models; `served`: or refused."""

    data_type: str
    version: int
    kind: str
    file: str
    about: str
    served: bool = True
    fields: int = 0
    """How many of the record's fields it reads, the first ones; 0 for all."""
    name: str = ""
    """Empty: that of the data type."""

    @property
    def label(self) -> str:
        return f"{self.data_type} v{self.version}"


WINE_1 = Planned("wine", 1, "SavedModel", "wine-v1", "softmax of 3 fields", fields=3)
CANCER_1 = Planned("cancer", 1, "PMML", "cancer-v1.pmml", "decision tree")
WINE_2 = Planned("wine", 2, "frozen graph", "wine-v2.pb", "network 13-8-3")
DAMAGED = Planned("wine", 3, "SavedModel", "wine-v1", "one byte damaged", served=False, fields=3)
CANCER_2 = Planned("cancer", 2, "SavedModel", "cancer-v2", "network 30-8-2")
WINE_4 = Planned("wine", 4, "PMML", "wine-v4.pmml", "logistic regression")

PLANNED = (WINE_1, CANCER_1, WINE_2, DAMAGED, CANCER_2, WINE_4)
