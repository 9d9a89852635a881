"""`millrace check-consistency`: do history and the online store hold what batch computes?"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.option_groups import grouped
from millrace.options import S3Access

if TYPE_CHECKING:
    from schemas.features.declarations import Declarations
    from udfs.stores.history.consistency import Comparison

_COUNTS = ("equal", "mismatched", "missing", "extra", "late", "newer", "expired")


@grouped
def check_consistency(
    file: Annotated[
        Path, typer.Argument(metavar="DECLARATIONS", help="A .toml or .py file.", exists=True, dir_okay=False)
    ],
    *,
    view: Annotated[
        list[str] | None, typer.Option("--view", help="NAME_vVERSION; repeat. By default all views.")
    ] = None,
    history: Annotated[str, typer.Option("--history", help="Where jobs keep rows: s3: or a path.")] = "",
    redis: Annotated[
        str,
        typer.Option("--redis", envvar="MILLRACE_REDIS_URL", help="redis:// or rediss://"),
    ] = "",
    project: Annotated[str, typer.Option("--project", help="Feast's; it ends every key.")] = "millrace",
    sample: Annotated[int, typer.Option("--sample", min=1, help="The most entities asked for.")] = 10_000,
    dead_letters: Annotated[
        Path | None,
        typer.Option("--dead-letters", help="The stream's, as JSON lines: who has late events counts apart."),
    ] = None,
    s3: S3Access,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Compute views from their sources' history, and hold stored rows and what Redis serves against it.

    Steps in SQL and references are computed, too, from the references' history. Rows up to the newest stored
    one are compared, value by value and to the last bit. The exit code is 1
    where something is mismatched, missing or extra. All is held in memory: choose a view and a short history.
    """
    from schemas.errors import FeatureError, SettingsError  # noqa: PLC0415
    from udfs.features.loading import load_declarations  # noqa: PLC0415

    if not history and not redis:
        raise SettingsError("there is nothing to compare with: give --history, --redis, or both")
    declared = load_declarations(file)
    known = [v.id for v in declared.views]
    if unknown := sorted({*(view or ())} - {*known}):
        raise FeatureError(f"there is no view {', '.join(unknown)}; there are {', '.join(known)}")
    check = _Check(declared, history, redis, project, sample, dead_letters, s3.options())
    report = {name: check.of(name) for name in view or known}
    if as_json:
        plain = {
            name: {store: dataclasses.asdict(c) for store, c in found.items()}
            for name, found in report.items()
        }
        typer.echo(json.dumps(plain))
    else:
        _show(report)
    if not all(c.consistent for found in report.values() for c in found.values()):
        raise typer.Exit(1)


@dataclasses.dataclass(frozen=True)
class _Check:
    declared: Declarations
    history: str
    redis: str
    project: str
    sample: int
    dead_letters: Path | None
    s3: Any

    def of(self, name: str) -> dict[str, Comparison]:
        """Store -> what was found, of one view."""
        from udfs.stores.history.compute import compute_rows  # noqa: PLC0415
        from udfs.stores.history.consistency import compare_history, compare_online, rows_of  # noqa: PLC0415
        from udfs.stores.history.files import read_rows  # noqa: PLC0415
        from udfs.stores.history.late import late_entities, late_references  # noqa: PLC0415
        from udfs.stores.online.base import RedisOptions  # noqa: PLC0415
        from udfs.stores.online.redis_reader import RedisReader  # noqa: PLC0415
        from udfs.stores.stored_views import stored_views  # noqa: PLC0415

        view = next(v for v in self.declared.views if v.id == name)
        kept, online = stored_views(self.declared, "history"), stored_views(self.declared, "online")
        stored = kept.get(name) or online[name]
        late = late_entities(self.dead_letters, name, view.entity) if self.dead_letters else set()
        if self.dead_letters and (count := late_references(self.dead_letters, name)):
            typer.echo(
                f"{name}: {count} rows of references came late, so that rows final before may differ",
                err=True,
            )
        computed = rows_of(compute_rows(self.declared, view, self.s3), stored)
        found = {}
        if self.history and name in kept:
            types = dict([*stored.entity, *stored.features])
            rows = rows_of(read_rows(f"{self.history.rstrip('/')}/{name}", types, self.s3), stored)
            found["history"] = compare_history(computed, rows, stored, late)
        if self.redis and name in online:
            reader = RedisReader(online, RedisOptions(self.redis, self.project))
            now = time.time_ns() // 1_000_000
            try:
                found["online"] = compare_online(computed, stored, reader, late, now=now, sample=self.sample)
            finally:
                reader.close()
        return found


def _show(report: dict[str, dict[str, Comparison]]) -> None:
    for name, found in report.items():
        for store, comparison in found.items():
            counts = ", ".join(
                f"{getattr(comparison, count)} {count}"
                for count in _COUNTS
                if count in _COUNTS[:4] or getattr(comparison, count)
            )
            typer.echo(f"{name} {store}: {counts}")
            for example in comparison.examples:
                typer.echo(f"  {example}")
