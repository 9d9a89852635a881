"""`millrace models history NAME`: what became of each version of a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.options import RegistryUrl
from millrace.registered import (
    AsJson,
    OfDataType,
    as_json,
    intervals,
    model_statistics,
    opened,
    usage,
)
from millrace.versions import local, short
from schemas.errors import RegistryError
from udfs.stores.registry import DEFAULT_URL

if TYPE_CHECKING:
    from schemas.lifecycle.experiments import ExperimentEvent


def models_history(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    registry: RegistryUrl = DEFAULT_URL,
    data_type: OfDataType = "",
    json_: AsJson = False,
) -> None:
    """Show when each version was published and served, how much it scored, and how its aliases moved.

    And what experiments did that it was part of.
    """
    from schemas.results.records import EventKind  # noqa: PLC0415
    from udfs.lifecycle.repository.served import MODEL, used  # noqa: PLC0415

    kinds = (EventKind.REFUSED, EventKind.QUARANTINED, EventKind.WITHDRAWN, EventKind.ABANDONED)
    with opened(registry) as known:
        versions = known.models(name, data_type)
        told, statistics = known.events(name, data_type), model_statistics(known, name, data_type)
        times = [one for one in intervals(known, name, data_type) if one.kind == MODEL]
        changes = known.alias_changes(name, data_type)
        experiments = known.experiments(name, data_type)
    if not (versions or told or statistics or experiments):
        raise RegistryError(f"the registry knows no model {name!r}: `millrace models list` shows them")
    rows: list[dict[str, Any]] = [asdict(one) | usage(used(one, statistics)) for one in times]
    events = [{"job": job, **asdict(e)} for job, e in told if e.kind in kinds]
    if json_:
        tried = {"experiments": experiments}
        published = [{k: v for k, v in asdict(m).items() if k != "descriptor"} for m in versions]
        as_json({"published": published, "served": rows, "events": events, "aliases": changes} | tried)
        return
    from millrace.render import print_table  # noqa: PLC0415

    if versions:
        print_table(
            ("version", "digest", "published", "by", "size"),
            [
                (short(m.version), m.digest[:8], local(m.created), m.publisher or "-", f"{m.size:,}")
                for m in versions
            ],
            "Published",
        )
    if rows:
        print_table(
            ("version", "job", "from", "until", "ended", "records"),
            [
                (
                    short(row["version"]),
                    row["job"],
                    local(row["since"]),
                    local(row["until"]),
                    row["ended"] or "-",
                    f"{row['records']:,}",
                )
                for row in rows
            ],
            "Served",
        )
    if events:
        print_table(
            ("version", "job", "at", "what", "why"),
            [
                (short(e["version"]), e["job"], local(e["at"]), e["kind"].value, e["reason"] or "-")
                for e in events
            ],
            "Told by jobs",
        )
    if experiments:
        print_table(
            ("version", "experiment", "arm", "at", "what", "why"),
            [row for one in experiments for row in _of_experiment(one, name)],
            "Experiments",
        )
    if changes:
        print_table(
            ("alias", "version", "from", "by", "why"),
            [
                (
                    c.alias,
                    short(c.version) if c.version else "none",
                    local(c.at),
                    c.by or "-",
                    c.reason or "-",
                )
                for c in changes
            ],
            "Aliases",
        )


def _of_experiment(told: ExperimentEvent, name: str) -> list[tuple[str, ...]]:
    """A row for each arm that the model was in."""
    arms = [
        (short(arm.version) if arm.version else "any", title)
        for title, arm in told.arms.items()
        if arm.model == name
    ]
    share = f"{told.share:.2%} treated" if told.kind in ("started", "step") else ""
    why = "; ".join(filter(None, (share, told.evidence, told.reason))) or "-"
    said = (local(told.at), told.kind.replace("_", " "), why)
    return [(version, told.experiment, title, *said) for version, title in arms or [("-", "replaced")]]
