"""What the commands about registered models share: opening the registry, and how times and lists are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.results.records import ModelToServeStats
    from udfs.lifecycle.repository.served import Served
    from udfs.stores.registry.models import ModelRegistry

AsJson = Annotated[bool, typer.Option("--json", help="JSON.")]
OfDataType = Annotated[str, typer.Option("--data-type", help="Only this data type's.")]


@contextmanager
def opened(url: str) -> Iterator[ModelRegistry]:
    """The registry of models. Raises `RegistryError` where the URL names none."""
    from udfs.stores.registry.models import ModelRegistry  # noqa: PLC0415

    registry = ModelRegistry(url)
    try:
        yield registry
    finally:
        registry.close()


def moment(text: str) -> int:
    """A time as epoch milliseconds: `now`, a number of them, or ISO 8601, local where it names no zone.

    >>> moment("1970-01-01T00:00:02Z"), moment("1700000000000")
    (2000, 1700000000000)
    """
    if text == "now":
        return time.time_ns() // 1_000_000
    try:
        if text.isdecimal() and len(text) >= 12:
            datetime.fromtimestamp(int(text[:-3]), UTC)  # raises for what no calendar has
            return int(text)
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{text!r} is no time: give now, 2026-11-28T13:00, 2026-11-28T13:00+01:00 or epoch milliseconds",
            param_hint="TIME",
        ) from None


def version_of(text: str) -> int | str:
    """A version or an alias, as `ModelRegistry.model` takes it.

    >>> version_of("4"), version_of("v4"), version_of("champion")
    (4, 4, 'champion')
    """
    digits = text.removeprefix("v")
    return int(digits) if digits.isdecimal() else text


def as_json(found: Any) -> None:
    """Print plain values, records and lists of them."""
    import msgspec  # noqa: PLC0415

    typer.echo(json.dumps(msgspec.to_builtins(found, order="deterministic"), indent=2))


def intervals(registry: ModelRegistry, name: str = "", data_type: str = "") -> list[Served]:
    """Who served when. Plans have names of their own: with a name they are left out."""
    from udfs.lifecycle.repository.served import served  # noqa: PLC0415

    return served(registry.events(name, data_type), model_statistics(registry, name, data_type))


def model_statistics(
    registry: ModelRegistry, name: str = "", data_type: str = ""
) -> list[tuple[str, ModelToServeStats]]:
    """(job, statistics) of models; not those of candidates by collectors."""
    from schemas.results.records import ModelToServeStats  # noqa: PLC0415

    told = registry.statistics(name, data_type)
    return [(job, one) for job, one in told if isinstance(one, ModelToServeStats)]


def usage(told: Sequence[ModelToServeStats]) -> dict[str, Any]:
    """What statistics of one version add up to. Of quantiles the highest, which the whole does not exceed."""
    batches = sum(t.batches for t in told)
    return {
        "records": sum(t.usage for t in told),
        "failures": sum(t.failures for t in told),
        "mean_ms": sum(t.duration_ms for t in told) / batches if batches else None,
        "p50_ms": max((t.p50_ms for t in told if t.batches), default=None),
        "p99_ms": max((t.p99_ms for t in told if t.batches), default=None),
    }
