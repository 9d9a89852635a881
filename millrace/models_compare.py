"""`millrace models compare NAME 3 4`: two versions of a model side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.options import RegistryUrl
from millrace.registered import (
    AsJson,
    OfDataType,
    as_json,
    model_statistics,
    opened,
    usage,
    version_of,
)
from millrace.versions import local, short
from udfs.stores.registry import DEFAULT_URL

if TYPE_CHECKING:
    from schemas.lifecycle.quality import QualityRecord
    from udfs.stores.registry.model_records import ModelColumn, RegisteredModel
    from udfs.stores.registry.models import ModelRegistry

_ARM = ("outcomes", "coverage", "accuracy", "mae")
_QUALITY = ("outcomes", "coverage", "accuracy", "log_loss", "brier", "auc", "mae", "rmse", "bias")
_COUNTS = ("asked", "answered", "wins", "disagreements", "late", "declined", "failed")


def models_compare(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    one: Annotated[str, typer.Argument(help="A version, or an alias.")],
    other: Annotated[str, typer.Argument(help="A version, or an alias.")],
    *,
    registry: RegistryUrl = DEFAULT_URL,
    data_type: OfDataType = "",
    json_: AsJson = False,
) -> None:
    """Show what two versions were made of, how good they were, and how they have served, with differences."""
    with opened(registry) as known:
        both = [known.model(name, version_of(text), data_type) for text in (one, other)]
        served = [_served(known, model) for model in both]
        qualities = [_quality(known, model) for model in both]
    if json_:
        told = [{k: v for k, v in asdict(m).items() if k != "descriptor"} for m in both]
        listed = zip(told, served, qualities, strict=True)
        as_json([{**m, "served": s, "quality": [*q.values()]} for m, s, q in listed])
        return
    from millrace.render import print_table  # noqa: PLC0415

    first, second = both
    rows: list[tuple[str, object, object]] = _told(first, second)
    metrics = [
        {f"{x.name}{f' on {x.dataset}' if x.dataset else ''}": x.value for x in m.metrics} for m in both
    ]
    rows += [(n, metrics[0].get(n), metrics[1].get(n)) for n in {**metrics[0], **metrics[1]}]
    rows += [(n.replace("_", " "), served[0].get(n), served[1].get(n)) for n in {**served[0], **served[1]}]
    figures = [_figures(q) for q in qualities]
    rows += [(n, figures[0].get(n), figures[1].get(n)) for n in {**figures[0], **figures[1]}]
    print_table(
        ("", short(first.version), short(second.version), "difference"),
        [(what, _shown(a), _shown(b), _difference(a, b)) for what, a, b in rows if a or b],
        f"{first.name} for {first.data_type}",
    )


def _told(first: RegisteredModel, second: RegisteredModel) -> list[tuple[str, object, object]]:
    def both(what: str, of: Any) -> tuple[str, object, object]:
        return what, of(first), of(second)

    return [
        both("type", lambda m: m.model_type.lower()),
        both("digest", lambda m: m.digest[:12]),
        both("created", lambda m: local(m.created)),
        both("publisher", lambda m: m.publisher),
        both("code version", lambda m: m.code_version),
        both("description", lambda m: m.description),
        both("bytes", lambda m: m.size),
        both("inputs", lambda m: _columns(m.inputs)),
        both("outputs", lambda m: _columns(m.outputs)),
        both("training set", lambda m: m.training_set.path if m.training_set else ""),
        both("its digest", lambda m: m.training_set.digest[:12] if m.training_set else ""),
        both("its views", lambda m: ", ".join(m.training_set.views) if m.training_set else ""),
        both("tags", lambda m: ", ".join(f"{k}={v}" for k, v in sorted(m.tags.items()))),
    ]


def _served(known: ModelRegistry, model: RegisteredModel) -> dict[str, Any]:
    """What jobs tell of a version, over all of them."""
    from schemas.results.records import CandidateStats  # noqa: PLC0415

    about = (model.version, model.digest)
    own = model_statistics(known, model.name, model.data_type)
    found = usage([told for _, told in own if (told.version, told.digest) == about])
    decided = [
        told
        for _, told in known.statistics(model.name, model.data_type)
        if isinstance(told, CandidateStats) and told.version == model.version
    ]
    if decided:
        found |= {count: sum(getattr(told, count) for told in decided) for count in _COUNTS}
    return found


def _quality(known: ModelRegistry, model: RegisteredModel) -> dict[str, dict[str, Any]]:
    """How good a version was since the start, over plans and slices.

    By where: of all it has scored, in each arm of each experiment, and as a candidate, whatever was decided.
    """
    from udfs.lifecycle.quality.exchange import added_up  # noqa: PLC0415

    told: dict[tuple[str, str, bool], list[QualityRecord]] = {}
    for one in known.quality(model.name, model.version, model.data_type):
        told.setdefault((one.experiment, one.arm, bool(one.candidate)), []).append(one)
    found = {}
    for (experiment, arm, asked), records in sorted(told.items()):
        where = f"in {experiment}, {arm}" if experiment else "as a candidate" if asked else "live"
        about = {"experiment": experiment, "arm": arm, "candidate": asked, "at": max(r.at for r in records)}
        found[where] = {**about, "figures": added_up(records)}
    return found


def _figures(qualities: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Those that are shown, by their names in the table."""
    return {
        f"{name.replace('_', ' ')} {where}": told["figures"][name]
        for where, told in qualities.items()
        for name in (_ARM if told["experiment"] else _QUALITY)
        if name in told["figures"]
    }


def _columns(columns: tuple[ModelColumn, ...]) -> str:
    return ", ".join(f"{c.name} {c.dtype}{list(c.shape) or ''}".strip() for c in columns)


def _shown(value: object) -> str:
    if value is None or value == "":
        return "-"
    return (
        f"{value:.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def _difference(one: object, other: object) -> str:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return f"{other - one:+.6g}" if other != one else "same"
    return "same" if one == other else "other" if one and other else "-"
