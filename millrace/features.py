"""`millrace features`: the registry of feature views, of what models read, and of creators on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.options import RegistryUrl
from millrace.registered import AsJson
from udfs.stores.registry import DEFAULT_URL

if TYPE_CHECKING:
    from udfs.stores.registry.base import FeatureRef, Lineage
    from udfs.stores.registry.sql import SqlRegistry

features = typer.Typer(
    help="Register feature views and what reads them, and see where each feature comes from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@features.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(help="Declarations, .toml or .py.", exists=True, dir_okay=False)],
    *,
    registry: RegistryUrl = DEFAULT_URL,
) -> None:
    """Check declarations and register them. A registered version of a view cannot be changed."""
    from udfs.features.loading import load_declarations  # noqa: PLC0415

    declared = load_declarations(file)
    with _opened(registry) as known:
        new = {*known.apply(declared)}
    for view in declared.views:
        typer.echo(f"{view.id}: {'registered' if view.id in new else 'as it was'}")


@features.command("list")
def list_(
    *,
    registry: RegistryUrl = DEFAULT_URL,
    owner: Annotated[str, typer.Option("--owner", help="Only theirs.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show every feature: its type, the stream and references it comes from, its owner, and who reads it."""
    with _opened(registry) as known:
        found = [one for one in known.lineages() if owner in ("", one.owner)]
    _show(found, as_json)


@features.command("show")
def show(
    view: Annotated[str, typer.Argument(help="NAME_vVERSION.")], *, registry: RegistryUrl = DEFAULT_URL
) -> None:
    """Print a view's declaration, and its creator where it has one, as JSON."""
    import msgspec  # noqa: PLC0415

    with _opened(registry) as known:
        declared, creator = known.view(view), known.on_demand(view)
    shown = msgspec.to_builtins(declared)
    typer.echo(json.dumps(shown | ({"on_demand": msgspec.to_builtins(creator)} if creator else {}), indent=2))


@features.command("lineage")
def lineage(
    feature: Annotated[str, typer.Argument(help="VIEW_vVERSION:FEATURE.")],
    *,
    registry: RegistryUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show where one feature comes from, through which views, and which models read it."""
    with _opened(registry) as known:
        _show([known.lineage(_reference(feature))], as_json)


@features.command("model")
def model(
    name: Annotated[str, typer.Argument(help="The name in the model's descriptor.")],
    *,
    inputs: Annotated[
        list[str], typer.Option("--input", help="FIELD=VIEW_vVERSION:FEATURE, in the model's order; repeat.")
    ],
    data_type: Annotated[str, typer.Option("--data-type", help="Of the records that it scores.")],
    version: Annotated[int, typer.Option("--version", min=0, help="0: of every version.")] = 0,
    registry: RegistryUrl = DEFAULT_URL,
) -> None:
    """Register which features a model reads."""
    from udfs.stores.registry.base import ModelInputs  # noqa: PLC0415

    pairs = [(field, _reference(ref)) for field, ref in (_pair(one, "--input") for one in inputs)]
    with _opened(registry) as known:
        known.put_model(ModelInputs(name, version, data_type, tuple(pairs)))


@features.command("on-demand")
def on_demand(
    view: Annotated[str, typer.Argument(help="NAME_vVERSION.")],
    *,
    url: Annotated[str, typer.Option("--url", help="Asked by POST with the entity as a JSON object.")],
    paths: Annotated[
        list[str], typer.Option("--path", help="FEATURE=EXPRESSION, JMESPath over the JSON answer; repeat.")
    ],
    timeout_ms: Annotated[int, typer.Option("--timeout-ms", min=1, help="Of one call.")] = 200,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once of a task.")] = 16,
    registry: RegistryUrl = DEFAULT_URL,
) -> None:
    """Register the service that makes a view's features when a request finds none."""
    from udfs.stores.registry.base import OnDemand  # noqa: PLC0415

    pairs = tuple(_pair(one, "--path") for one in paths)
    with _opened(registry) as known:
        known.put_on_demand(OnDemand(view, url, pairs, timeout_ms, concurrency))


@contextmanager
def _opened(url: str) -> Iterator[SqlRegistry]:
    from udfs.stores.registry.sql import SqlRegistry  # noqa: PLC0415

    registry = SqlRegistry(url)
    try:
        yield registry
    finally:
        registry.close()


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name, value


def _reference(text: str) -> FeatureRef:
    from udfs.stores.registry.base import FeatureRef  # noqa: PLC0415

    view, colon, feature = text.partition(":")
    if not (view and colon and feature):
        raise typer.BadParameter(f"{text!r} is not VIEW_vVERSION:FEATURE")
    return FeatureRef(view, feature)


def _show(found: list[Lineage], as_json: bool) -> None:
    rows = [_row(one) for one in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo("No feature is registered.", err=True)
    else:
        from millrace.render import print_table  # noqa: PLC0415

        shown = [
            {**row, **{k: ", ".join(row[k]) for k in ("through", "references", "read_by")}} for row in rows
        ]
        print_table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in shown])


def _row(one: Lineage) -> dict[str, Any]:
    return {
        "feature": str(one.feature),
        "type": one.type.value,
        "source": one.source,
        "through": list(one.through),
        "references": list(one.references),
        "read_by": [
            f"{model} {f'version {version}' if version else 'all'}" for model, version in one.readers
        ],
        "owner": one.owner,
        "description": one.description,
    }
