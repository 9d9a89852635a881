"""Made-up visits of customers, who buy or do not, and what the models of the demo know of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millrace.export_pmml import logistic_regression

DATA_TYPE = "visit"
FIELDS = ("pages", "minutes", "price", "age")
CLASSES = ("no", "yes")
TARGET = "bought"
SCORE = "probability(yes)"

_WEIGHTS = np.array([1.5, -1.2, 0.9, 0.7])
_DRIFTED = np.array([1.5, 1.2, 0.9, 0.7])
_SHIFT = np.array([0.0, 1.2, 0.0, 0.0])
_NOISE = 0.25

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Model:
    """A logistic regression: `weights` of the fields, 0 for one that it does not read."""

    name: str
    version: int
    about: str
    weights: tuple[float, ...]
    intercept: float = 0.0

    @property
    def file(self) -> str:
        return f"{self.name}.pmml"

    def pmml(self) -> bytes:
        read = [k for k, weight in enumerate(self.weights) if weight]
        weights = np.array([[self.weights[k] for k in read]])
        fields = [FIELDS[k] for k in read]
        return logistic_regression(weights, np.array([self.intercept]), fields, CLASSES, TARGET).encode()

    def probability(self, rows: Floats) -> Floats:
        """Of `yes`, for rows (n, 4): computed here, apart from the job."""
        return 1 / (1 + np.exp(-(rows @ np.array(self.weights) + self.intercept)))


FIRST = Model("first", 1, "reads two fields", (2.0, -1.6, 0.0, 0.0))
WORSE = Model("worse", 2, "reads the wrong field", (0.0, 0.0, 2.0, 0.0))
BETTER = Model("better", 3, "reads all four fields", (6.0, -4.8, 3.6, 2.8))
RETRAINED_NAME, RETRAINED_VERSION = "retrained", 4


@dataclass(slots=True)
class Visits:
    """Draws visits; `drifted` from a call of `drift` on: one field moves, and means the opposite."""

    rng: np.random.Generator
    drifted: bool = False
    customers: int = 0
    recent: list[int] = field(default_factory=list)

    def drift(self) -> None:
        self.drifted = True

    def draw(self, count: int) -> tuple[list[str], Floats, NDArray[np.bool_]]:
        """Customers, rows (n, 4), and who buys. Some customers come again."""
        names = []
        for again in (self.rng.random(count) < 0.2).tolist():
            if again and self.recent:
                number = self.recent[int(self.rng.integers(len(self.recent)))]
            else:
                number = self.customers
                self.customers += 1
                self.recent = [*self.recent[-49:], number]
            names.append(f"customer-{number}")
        rows = self.rng.normal(0, 1, (count, len(FIELDS))) + (_SHIFT if self.drifted else 0)
        rows = rows.round(4)
        weights = _DRIFTED if self.drifted else _WEIGHTS
        buys = rows @ weights + self.rng.normal(0, _NOISE, count) > 0
        return names, rows, buys


def trained(rows: Floats, buys: NDArray[np.bool_]) -> Model:
    """The third model: a logistic regression with a little ridge."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes seconds

    fitted = LogisticRegression(C=2.0).fit(rows, buys)
    weights = tuple(float(weight) for weight in fitted.coef_[0].round(6))
    about = f"trained on {len(rows):,} visits"
    return Model(RETRAINED_NAME, RETRAINED_VERSION, about, weights, round(float(fitted.intercept_[0]), 6))


def digest(model: Model) -> str:
    return hashlib.sha256(model.pmml()).hexdigest()
