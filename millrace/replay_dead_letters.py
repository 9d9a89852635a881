"""`millrace replay-dead-letters`: records that could not be used go through their job once more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.options import Bootstrap, Client, Timeout, either

if TYPE_CHECKING:
    from millrace.replaying import Judged, Original

_EXAMPLES = 5


def replay_dead_letters(
    *,
    code: Annotated[
        list[str] | None, typer.Option("--code", help="Only those with this code; may be repeated.")
    ] = None,
    data_type: Annotated[
        list[str] | None, typer.Option("--data-type", help="Only those of this type; may be repeated.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", help="Only records of this time or later, e.g. 2026-11-28T12:00 (UTC).")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Only records before this time.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
    from_folder: Annotated[
        Path | None,
        typer.Option("--from-folder", help="A job's folder of dead letters, beside its folder records."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="A topic that records may be sent to: one that the job reads records from; may be repeated.",
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_DEAD_LETTERS_TOPIC", help="The topic of dead letters.")
    ] = "dead-letters",
    notes: Annotated[
        str,
        typer.Option(
            "--notes", help="The compacted topic that keeps what was sent; by default TOPIC-replayed."
        ),
    ] = "",
    client: Client = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Counts and reasons as JSON.")] = False,
) -> None:
    """Send the records of dead letters back to where they came from, once each.

    For when what they failed on was mended: a model, a view, a codec. A record keeps its partition, key,
    headers and time, and has one header more, millrace-replayed, with the place of the record that it
    repeats. They go in the order in which they stood in their partition. A second run sends nothing again; a
    record that fails again is a dead letter of its own.

    Whoever writes dead letters names the topic: records go to those alone that --to names.
    """
    either(from_folder, bootstrap, "--from-folder")
    from millrace.replaying import Wanted, judged  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415

    wanted = Wanted(
        tuple(code or ()), tuple(data_type or ()), _time(since, "--since"), _time(until, "--until")
    )
    if from_folder is not None:
        if to:
            raise typer.BadParameter("--to is of topics; from a folder records go to ROOT/records")
        from millrace.replay_folder import ReplayFolders  # noqa: PLC0415

        folders = ReplayFolders(from_folder, from_folder.resolve().parent / "records")
        found = list(judged(folders.lines(), wanted, folders.sent_before(), folders.whole))
        refused = (folders.refused if dry_run else folders.send)(_to_send(found))
    else:
        assert bootstrap is not None
        from millrace.replay_kafka import ReplayTopics, SourceTopics, sending  # noqa: PLC0415

        settings = parse_pairs(client, "--client")
        topics = ReplayTopics(bootstrap, topic, notes or f"{topic}-replayed", settings, timeout)
        sources = SourceTopics(topics)

        def found_now() -> list[Judged]:
            before = topics.sent_before()
            return list(judged(topics.lines(), wanted, before, sources.whole, to or ()))

        try:
            if dry_run:
                found, refused = found_now(), {}
            else:
                with sending(topics) as sender:  # first, so that no other run notes anything from here on
                    found = found_now()
                    refused = sender.send(_to_send(found))
        finally:
            sources.close()
    _say(found, refused, dry_run=dry_run, as_json=as_json)


def _to_send(found: Sequence[Judged]) -> list[Original]:
    """In the order of their partitions: letters of one may come mixed, above all after a restart."""
    there = [(one.letter, one.original) for one in found if one.original is not None]
    there.sort(key=lambda one: (one[0].source, one[0].partition, one[0].offset))
    return [original for _, original in there]


def _time(text: str, option: str) -> int | None:
    """Epoch milliseconds of an ISO time; without a zone it is UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} is a time such as 2026-11-28T12:00, not {text!r}") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _say(found: Sequence[Judged], refused: dict[str, str], *, dry_run: bool, as_json: bool) -> None:
    from millrace.render import print_table  # noqa: PLC0415
    from millrace.replaying import Fate, identity_of  # noqa: PLC0415

    counts: Counter[tuple[str, str, str]] = Counter()
    reasons: list[dict[str, Any]] = []
    for one in found:
        identity = identity_of(one.letter)
        reason = one.reason or refused.get(identity, "")
        fate = Fate.IMPOSSIBLE if reason else one.fate
        counts[one.letter.data_type, one.letter.code, fate.value] += 1
        if reason:
            reasons.append({"record": identity, "code": one.letter.code, "reason": reason})
    if as_json:
        listed = [
            dict(zip(("data_type", "code", "fate"), k, strict=True), count=n) for k, n in counts.items()
        ]
        typer.echo(json.dumps({"dry_run": dry_run, "counts": listed, "cannot_be_sent": reasons}, indent=2))
        return
    if not found:
        typer.echo("No dead letter is meant.")
        return
    shown = {Fate.SENT.value: "would be sent" if dry_run else "sent"}
    rows = sorted((t, c, shown.get(fate, fate), n) for (t, c, fate), n in counts.items())
    print_table(("data type", "code", "fate", "records"), rows)
    for example in reasons[:_EXAMPLES]:
        typer.echo(f"{example['record']} cannot be sent: {example['reason']}.", err=True)
    if len(reasons) > _EXAMPLES:
        typer.echo(f"So it is with {len(reasons) - _EXAMPLES:,} more; --json lists all.", err=True)
