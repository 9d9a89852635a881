"""What must hold before the registry takes something in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from jmespath.parser import ParsedResult

from schemas.errors import RegistryError
from schemas.expression_bounds import shown
from schemas.features.declarations import Declarations, FeatureType, FeatureView, meaning
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import ModelInputs, OnDemand
from udfs.stores.registry.paths import PathError, compiled

RESERVED = frozenset({"id", "features"})
"""Fields of a completed record that are its own: see `udfs.enrichment.base.Completed`."""


def merged(known: Declarations, new: Declarations) -> Declarations:
    """`known` with `new`. Sources and references of the same name are replaced, for where a stream is and how
    late it may be do change; of a view only its owner and descriptions.

    Raises `RegistryError` for a view that means something else.
    """
    views = {v.id: v for v in known.views}
    for view in new.views:
        if meaning(views.get(view.id, view)) != meaning(view):
            raise RegistryError(
                f"view {view.id} is registered with other content: what a version means never changes, so "
                f"declare version {view.version + 1}"
            )
        views[view.id] = view
    sources = {s.name: s for s in known.sources} | {s.name: s for s in new.sources}
    references = {r.name: r for r in known.references} | {r.name: r for r in new.references}
    return Declarations(
        sources=tuple(sources.values()), references=tuple(references.values()), views=tuple(views.values())
    )


def path_to_source(view: FeatureView, views: Mapping[str, FeatureView]) -> tuple[str, tuple[str, ...]]:
    """The source a view's events come from in the end, and the views between, the nearest first."""
    through: list[str] = []
    while view.source in views:
        view = views[view.source]
        through.append(view.id)
    return view.source, tuple(through)


def check_model(inputs: ModelInputs, views: Mapping[str, StoredView]) -> None:
    """`views`: those that the inputs name. Raises `RegistryError` where they make no vector."""
    if not inputs.model or not inputs.data_type or not inputs.inputs or inputs.version < 0:
        raise RegistryError(
            f"model {inputs.model!r}: name, data type and inputs must not be empty, nor the version negative"
        )
    fields = [field for field, _ in inputs.inputs]
    taken = RESERVED & {*fields}
    if len({*fields}) < len(fields) or "" in fields or taken:
        raise RegistryError(
            f"model {inputs.model}: input fields must be named, each once, none of them "
            f"{' or '.join(sorted(RESERVED))}"
        )
    keys: dict[str, tuple[FeatureType, str]] = {}
    for _, ref in inputs.inputs:
        view = views[ref.view]
        if ref.feature not in dict(view.features):
            names = ", ".join(name for name, _ in view.features)
            raise RegistryError(f"view {ref.view} has no feature {ref.feature!r}; it has {names}")
        for name, kind in view.entity:
            other, where = keys.setdefault(name, (kind, view.id))
            if other is not kind:
                raise RegistryError(
                    f"model {inputs.model}: the entity key {name!r} is {other} in {where} and {kind} in "
                    f"{view.id}; a request names it once"
                )


def check_on_demand(creator: OnDemand, view: StoredView) -> None:
    """Raises `RegistryError` where the creator could not make a whole row of the view."""
    parts = urlsplit(creator.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RegistryError(f"on demand {creator.view}: {creator.url!r} is no http or https address")
    if creator.timeout_ms < 1 or creator.concurrency < 1:
        raise RegistryError(f"on demand {creator.view}: timeout_ms and concurrency must be 1 or more")
    names = [name for name, _ in creator.paths]
    wanted = [name for name, _ in view.features]
    if sorted(names) != sorted(wanted):
        raise RegistryError(
            f"on demand {creator.view}: each of {', '.join(wanted)} needs a path, "
            f"since a row is stored whole; there are paths for {', '.join(names) or 'none'}"
        )
    compiled_paths(creator.paths)


def compiled_paths(paths: Sequence[tuple[str, str]]) -> dict[str, ParsedResult]:
    """Feature -> expression. Raises `RegistryError` for what is no JMESPath expression, or too much of
    one."""
    found = {}
    for name, path in paths:
        try:
            found[name] = compiled(path)
        except PathError as e:
            raise RegistryError(f"path of {name}: {shown(path)} {e}") from None
    return found
