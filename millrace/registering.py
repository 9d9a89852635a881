"""Entering a published model in the registry, with what only its publisher knows."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import millrace
from schemas.errors import RegistryError, SourceError, StoreError

if TYPE_CHECKING:
    from millrace.publishing import Published
    from udfs.stores.registry.model_records import RegisteredModel, TrainedOn


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a publisher says beyond the descriptor.

    `metrics`: (name, data set) -> value; `training_set`: a local file or folder, or a location; `views`: of
    its features, `NAME_vVERSION`; `source`: what it was taken from, where that is another repository.
    """

    publisher: str = ""
    code_version: str = ""
    training_set: str = ""
    views: tuple[str, ...] = ()
    metrics: Mapping[tuple[str, str], float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


class Registration:
    """A model's entry in the registry.

    It is made before the model is published, so that a missing registry or training set is found while
    nothing has happened; `enter` follows when the model is published.
    """

    def __init__(self, url: str, said: Provenance) -> None:
        """Raises `RegistryError`, `StoreError`, and `SourceError` for a training set that cannot be read."""
        from udfs.stores.registry.models import ModelRegistry  # noqa: PLC0415

        self._url, self._said = url, said
        self._digest = _digest_of(said.training_set)
        self._registry = ModelRegistry(url)
        self._registry.make()

    def enter(self, published: Published) -> RegisteredModel:
        """Enter the model. Raises `StoreError` where the registry has gone meanwhile."""
        from udfs.lifecycle.repository.published import contents_of, model_of  # noqa: PLC0415
        from udfs.stores.registry.model_records import Metric, ModelColumn  # noqa: PLC0415

        said, checked = self._said, published.checked
        model = model_of(published.descriptor)
        assert model is not None
        model = replace(
            model,
            publisher=said.publisher or getpass.getuser(),
            code_version=said.code_version,
            release=millrace.__version__,
            source=said.source,
            inputs=tuple(ModelColumn(i.name, i.dtype.value, i.shape, i.fields) for i in checked.inputs),
            outputs=tuple(ModelColumn(o.name, o.dtype.value, o.shape) for o in checked.outputs),
            training_set=self._trained_on(model),
            metrics=tuple(Metric(n, v, d, model.created) for (n, d), v in sorted(said.metrics.items())),
            tags=said.tags,
        )
        try:
            return self._registry.put(model, contents_of(published.descriptor))
        except StoreError as e:
            raise StoreError(
                f"the model is published as version {published.version}, but not registered: {e}: "
                f"run the same command with --version {published.version}, which publishes nothing new"
            ) from e

    def _trained_on(self, model: RegisteredModel) -> TrainedOn | None:
        from udfs.stores.registry.model_records import TrainedOn  # noqa: PLC0415
        from udfs.stores.registry.sql import SqlRegistry  # noqa: PLC0415

        views: Sequence[str] = self._said.views
        if not views:
            with suppress(RegistryError):  # it does not know what the model reads
                read = SqlRegistry(self._url).model(model.name, model.version).inputs
                views = sorted({ref.view for _, ref in read})
        if not views and not self._said.training_set:
            return None
        return TrainedOn(self._said.training_set, self._digest, tuple(views))


def _digest_of(training_set: str) -> str:
    """Of a file or folder that is here; of a bucket's none."""
    from udfs.models.digest import digest_of  # noqa: PLC0415
    from udfs.models.local_folder import path_of  # noqa: PLC0415

    if not training_set or (":/" in training_set and not training_set.startswith("file:")):
        return ""
    path = path_of(training_set) if training_set.startswith("file:") else Path(training_set)
    try:
        return digest_of(path).sha256
    except OSError as e:
        raise SourceError(f"the training set {training_set} cannot be read: {e}") from e
