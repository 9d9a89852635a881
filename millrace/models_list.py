"""`millrace models list`: the models of the registry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Annotated

import typer

from millrace.options import RegistryUrl
from millrace.registered import AsJson, OfDataType, as_json, opened
from millrace.versions import local, short
from udfs.stores.registry import DEFAULT_URL


def models_list(
    *,
    registry: RegistryUrl = DEFAULT_URL,
    name: Annotated[str, typer.Option("--name", help="Only this model's.")] = "",
    data_type: OfDataType = "",
    json_: AsJson = False,
) -> None:
    """Show the models that the registry knows, with their aliases and metrics."""
    with opened(registry) as known:
        found, changes = known.models(name, data_type), known.alias_changes(name, data_type)
    newest = {(c.data_type, c.name, c.alias): c.version for c in changes}
    aliases = defaultdict[tuple[str, str, int], list[str]](list)
    for (of_type, of, alias), version in sorted(newest.items()):
        aliases[of_type, of, version].append(alias)
    called = [aliases[m.data_type, m.name, m.version] for m in found]
    if json_:
        rows = [asdict(m) | {"aliases": names} for m, names in zip(found, called, strict=True)]
        as_json([{k: v for k, v in row.items() if k != "descriptor"} for row in rows])
        return
    if not found:
        typer.echo("No such model is registered.", err=True)
        return
    from millrace.render import print_table  # noqa: PLC0415

    print_table(
        ("model", "version", "type", "created", "publisher", "aliases", "metrics"),
        [
            (
                m.name if m.name == m.data_type else f"{m.name} ({m.data_type})",
                short(m.version),
                m.model_type.lower(),
                local(m.created)[:10],
                m.publisher or "-",
                ", ".join(names) or "-",
                ", ".join(f"{x.name} {x.value:.6g}" for x in m.metrics[:3]) or "-",
            )
            for m, names in zip(found, called, strict=True)
        ],
    )
