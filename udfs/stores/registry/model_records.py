"""What the registry keeps of models: who made them of what, how good they were, and what they are called.

Times are epoch milliseconds. A model is its data type, name, version and digest: a version that was forced on
other content is another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from schemas.errors import RegistryError

LONGEST_NAME = 500
"""Bytes of a name that databases can index together with the others of a row."""
HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ModelColumn:
    """An input or an output. `shape` without the batch; `fields` of the record, of an input."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """A training set: where it was, the SHA-256 of its content, and the views (`NAME_vVERSION`) in it."""

    path: str
    digest: str = ""
    views: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A quality, as measured on the data set of that name; `measured`: when it was told."""

    name: str
    value: float
    dataset: str = ""
    measured: int = 0


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """`publisher`: who signed it, else who published it. `code_version`: of the code that trained it;
    `release`: of Millrace, that published it; `source`: what it was taken from, where that is another
    repository. `descriptor`: as published, without content; empty where nobody saw it."""

    data_type: str
    name: str
    version: int
    digest: str
    model_type: str = ""
    created: int = 0
    publisher: str = ""
    description: str = ""
    code_version: str = ""
    release: str = ""
    source: str = ""
    size: int = 0
    inputs: tuple[ModelColumn, ...] = ()
    outputs: tuple[ModelColumn, ...] = ()
    training_set: TrainedOn | None = None
    metrics: tuple[Metric, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    descriptor: bytes = b""

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.data_type, self.name, self.version, self.digest


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Where a content lies, by its digest. `size` in bytes."""

    digest: str
    location: str
    size: int


@dataclass(frozen=True, slots=True)
class AliasChange:
    """From `at` on, `alias` of a model's name stands for `version`; 0: for none. `reason`: the evidence."""

    data_type: str
    name: str
    alias: str
    version: int
    at: int
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RegisteredPlan:
    """A plan of speculative execution, as JSON, as it was published."""

    data_type: str
    name: str
    version: int
    digest: str
    plan: str
    created: int = 0
    description: str = ""


def merged(first: RegisteredModel, second: RegisteredModel) -> RegisteredModel:
    """One model of two accounts of it: where both say something, what the first says.

    Of a metric on one data set the first's value counts, of a tag its text. A descriptor knows no data sets:
    a metric of the second's without one is left out where the first has it with one.
    """
    said: dict[str, Any] = {
        f.name: getattr(first, f.name) or getattr(second, f.name) for f in fields(RegisteredModel)
    }
    with_dataset = {m.name for m in first.metrics if m.dataset}
    seconds = (m for m in second.metrics if m.dataset or m.name not in with_dataset)
    measured = {(m.name, m.dataset): m for m in (*seconds, *first.metrics)}
    metrics = tuple(measured[name] for name in sorted(measured))
    return replace(first, **{**said, "metrics": metrics, "tags": {**second.tags, **first.tags}})


def check_storable(**values: str | int) -> None:
    """Raises `RegistryError` for a name that no index takes, or a number above 63 bits."""
    for what, value in values.items():
        if isinstance(value, int):
            if not -HIGHEST <= value <= HIGHEST:
                raise RegistryError(f"{what} is {value}, more than a database can hold")
        elif len(value.encode(errors="replace")) > LONGEST_NAME:
            raise RegistryError(f"{what} has more than {LONGEST_NAME} bytes: {value[:60]}...")
        elif plain(value) != value:
            raise RegistryError(f"{what} is {value!r}, which holds what is no text to a database")


def plain(text: str) -> str:
    """The text as every database takes it: PostgreSQL has no NUL, and UTF-8 no halves of characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
