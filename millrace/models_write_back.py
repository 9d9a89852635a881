"""`millrace models write-back`: MLflow is told when its versions served, and what aliases stand for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.options import MlflowUrl, RegistryUrl
from millrace.registered import AsJson, as_json, intervals, moment, opened
from schemas.errors import RefusedError, RegistryError, SettingsError
from udfs.stores.registry import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.mlflow_aliases import AliasName, AliasThere
    from millrace.mlflow_models import Mlflow
    from millrace.mlflow_origin import Origin
    from millrace.mlflow_served import ServedThere

_SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNAUTHORIZED = 401
_GONE = "RESOURCE_DOES_NOT_EXIST"


class Outcome(StrEnum):
    """What became of a version's tags, or of an alias."""

    WRITTEN = "written"
    DIFFERS = "to write"
    """By a dry run."""
    UNCHANGED = "unchanged"
    GONE = "gone"
    """The version is no longer there, or another one of its number is."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Written:
    """A version of MLflow: `tags` as they are, or should be; `reason` why they are not."""

    name: str
    version: int
    outcome: Outcome
    tags: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WrittenAlias:
    """An alias of a model of MLflow, with the version for which it stands, or should; 0: for none."""

    name: str
    alias: str
    version: int
    outcome: Outcome
    reason: str = ""


def models_write_back(
    *,
    mlflow: MlflowUrl = "",
    registry: RegistryUrl = DEFAULT_URL,
    name: Annotated[str, typer.Option("--name", help="Only versions of this model of MLflow.")] = "",
    also_from: Annotated[
        list[str] | None,
        typer.Option(
            "--also-from", help="Another URL under which models were published from this server; repeat."
        ),
    ] = None,
    site: Annotated[
        str,
        typer.Option(
            "--site",
            help="Write millrace.SITE.served and millrace.SITE.serving: for registries that share a server.",
        ),
    ] = "",
    silent_after: Annotated[
        float,
        typer.Option(
            "--silent-after",
            min=0,
            help="Hours: a version of which nothing was heard for longer, nor an end, is not called serving.",
        ),
    ] = 24,
    aliases: Annotated[
        bool,
        typer.Option(
            "--aliases", help="Let aliases there stand for what the registry's aliases do, of such versions."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    json_: AsJson = False,
) -> None:
    """Write when and where models served to the tags of the MLflow versions that they were published from.

    millrace.served has the intervals, the newest first, in at most 5,000 characters; millrace.serving is
    true, false, or unknown. Tags that say so already are left alone. With --aliases those of the registry, as
    people and promotions of experiments moved them, are the ones there too. Ends with 1 where MLflow refuses
    any.
    """
    from millrace.mlflow_aliases import aliases_there  # noqa: PLC0415
    from millrace.mlflow_models import Mlflow  # noqa: PLC0415
    from millrace.mlflow_served import served_there  # noqa: PLC0415

    server = Mlflow(mlflow)
    if site and not _SITE.fullmatch(site):
        raise SettingsError(f"{site!r} is no --site: give up to 64 letters, digits, dashes and underscores")
    with opened(registry) as known:
        urls, models = [mlflow, *(also_from or ())], known.models()
        found = served_there(models, intervals(known), urls)
        named = aliases_there(models, known.alias_changes(), urls) if aliases else {}
    versions = [one for one in found.versions if name in ("", one.origin.name)]
    named = {key: there for key, there in named.items() if name in ("", key.model)}
    if name and not versions and not named:
        raise RegistryError(
            f"the registry knows no version of {name!r} of MLflow at {mlflow} that has served: publish with "
            "--registry, and let jobs/track.py run; --also-from names another URL of the server"
        )
    now, silent_ms = moment("now"), round(silent_after * 3_600_000)
    told = []
    for one in versions:
        told.append(_write(server, one.origin, one.tags(now, silent_ms, site), dry_run))
        if not json_:
            _tell(told[-1])
    moved = [_write_alias(server, key, there, dry_run) for key, there in named.items()]
    if json_:
        skipped = ("never_served", "not_from_mlflow", "elsewhere")
        said = {"versions": told, "skipped": {key: getattr(found, key) for key in skipped}}
        as_json({**said, "aliases": moved} if aliases else said)
    else:
        for alias in moved:
            _tell_alias(alias)
        _sum_up(told, found)
        if aliases:
            typer.echo(f"Aliases: {_counted(moved)}")
    if Outcome.REFUSED in {*(one.outcome for one in told), *(alias.outcome for alias in moved)}:
        raise typer.Exit(1)


def _write(server: Mlflow, of: Origin, tags: Mapping[str, str], dry_run: bool) -> Written:
    """Raises `SourceError` for what holds of every version: the server is away, or does not know who asks."""
    try:
        run, there = server.run_and_tags(of.name, of.version)
        if run != of.run:
            reason = (
                f"version {of.version} there is of run {run or 'none'}, and {of.run or 'none'} was served"
            )
            return Written(of.name, of.version, Outcome.GONE, tags, reason)
        news = {key: value for key, value in tags.items() if there.get(key) != value}
        for key, value in {} if dry_run else news.items():
            server.set_version_tag(of.name, of.version, key, value)
    except RefusedError as e:
        return Written(of.name, of.version, _refused(e), tags, str(e))
    written = Outcome.DIFFERS if dry_run else Outcome.WRITTEN
    return Written(of.name, of.version, written if news else Outcome.UNCHANGED, tags)


def _write_alias(server: Mlflow, key: AliasName, there: AliasThere, dry_run: bool) -> WrittenAlias:
    """Raises `SourceError` as `_write`."""
    versions = {one.version for one in there.wanted}
    if len(versions) > 1:
        which = " and ".join(map(str, sorted(versions)))
        said = f"it stands for versions {which} here, by several names or data types"
        return WrittenAlias(key.model, key.alias, 0, Outcome.REFUSED, said)
    version = next(iter(versions), 0)
    try:
        now = server.aliases(key.model).get(key.alias, 0)
        if version == now or (not version and not there.stood_for(now)):
            return WrittenAlias(key.model, key.alias, version, Outcome.UNCHANGED)
        runs = {one.run for one in there.wanted}
        if version and (run := server.run_and_tags(key.model, version)[0]) not in runs:
            said = f"version {version} there is of run {run or 'none'}, and another one was published"
            return WrittenAlias(key.model, key.alias, version, Outcome.GONE, said)
        if not dry_run and version:
            server.set_alias(key.model, key.alias, version)
        elif not dry_run:
            server.remove_alias(key.model, key.alias)
    except RefusedError as e:
        return WrittenAlias(key.model, key.alias, version, _refused(e), str(e))
    return WrittenAlias(key.model, key.alias, version, Outcome.DIFFERS if dry_run else Outcome.WRITTEN)


def _refused(e: RefusedError) -> Outcome:
    """Raises it where it holds of every version."""
    if e.status == _UNAUTHORIZED:
        raise e
    return Outcome.GONE if e.code == _GONE else Outcome.REFUSED


def _tell_alias(one: WrittenAlias) -> None:
    if one.outcome is not Outcome.UNCHANGED:
        said = one.reason or (f"version {one.version}" if one.version else "no version")
        typer.echo(f"{one.outcome.capitalize()}: {one.name}@{one.alias}: {said}", err=bool(one.reason))


def _tell(one: Written) -> None:
    if one.outcome is not Outcome.UNCHANGED:
        said = one.reason or " ".join(f"{key}={value}" for key, value in one.tags.items())
        line = f"{one.outcome.capitalize()}: {one.name} version {one.version}: {said}"
        typer.echo(line, err=bool(one.reason))


def _sum_up(told: list[Written], found: ServedThere) -> None:
    typer.echo(f"Versions: {_counted(told)}")
    skipped = {
        "never served": found.never_served,
        "not from MLflow": found.not_from_mlflow,
        **{f"from {url}": count for url, count in sorted(found.elsewhere.items())},
    }
    typer.echo("Skipped: " + ", ".join(f"{count} {what}" for what, count in skipped.items()))


def _counted(told: Sequence[Written | WrittenAlias]) -> str:
    outcomes = Counter(one.outcome for one in told)
    return ", ".join(f"{outcomes[one]} {one}" for one in Outcome if outcomes[one]) or "none"
