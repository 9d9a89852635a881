"""Where the content of a checked model goes: into its descriptor, or to where jobs can fetch it from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from millrace.upload import upload
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from millrace.checking import Checked
    from udfs.io.s3 import S3Options
    from udfs.models.composite.nodes import Graph


@dataclass(frozen=True, slots=True)
class Placement:
    """`location` of a model or `graph` with the locations of its nodes; `uploaded`: all that are new."""

    location: str | None
    graph: Graph | None
    uploaded: tuple[str, ...]


def place(checked: Checked, target: str, inline_limit: int, options: S3Options) -> Placement:
    """Upload what does not travel in the descriptor.

    Raises `SettingsError` without a `target`, and `LocationError` or `SourceError` from the upload.
    """
    model = checked.publication
    nodes = [n for n in model.graph.nodes if n.location] if model.graph else []
    if model.data is not None or (model.graph is not None and not nodes):
        return Placement(None, model.graph, ())
    if not target:
        raise SettingsError(
            f"the model has {model.size:,} bytes, more than the {inline_limit:,} that travel in a "
            "descriptor; say with --upload where it may be put (s3://bucket/prefix or file:/folder)"
        )
    if model.graph is None:
        location = upload(checked.file, target, model.data_type, model.sha256, options)
        return Placement(location, None, (location,))
    there = {n.name: upload(checked.files[n.name], target, model.data_type, n.sha256, options) for n in nodes}
    graph = replace(
        model.graph,
        nodes=tuple(replace(n, location=there.get(n.name, n.location)) for n in model.graph.nodes),
    )
    return Placement(None, graph, tuple(there.values()))
