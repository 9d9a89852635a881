"""`millrace tail`: results as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.options import Bootstrap, Client, Timeout, either
from millrace.versions import short
from schemas.errors import SourceError

if TYPE_CHECKING:
    from millrace.survey import Survey

_SHOWN = 4


def tail(
    *,
    from_folder: Annotated[
        Path | None, typer.Option("--from-folder", envvar="MILLRACE_RESULTS_FOLDER", help="JSON lines.")
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_RESULTS_TOPIC", help="The topic of results.")
    ] = "results",
    client: Client = None,
    timeout: Timeout = 15.0,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many results.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the results that are there already.")
    ] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Show what is there, and end; no waiting for more.")
    ] = False,
    dead_letters: Annotated[
        str,
        typer.Option(
            "--dead-letters",
            envvar="MILLRACE_DEAD_LETTERS_TOPIC",
            help="Where to look when nothing was scored: a topic; of a folder, the one beside it.",
        ),
    ] = "dead-letters",
    as_json: Annotated[bool, typer.Option("--json", help="Each result as it stands in the stream.")] = False,
) -> None:
    """Show results as they come, one a line: which model scored the record, the score, and the time it took.

    Ctrl-C ends it. Where nothing was scored it says at the end what else there is: results without a model,
    and dead letters by code.
    """
    from millrace.survey import Survey  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415

    either(from_folder, bootstrap, "--from-folder")
    settings = parse_pairs(client, "--client")
    survey = Survey()
    if not (from_beginning or no_follow):
        typer.echo("Waiting for new results (--from-beginning shows the earlier ones too).", err=True)
    with suppress(KeyboardInterrupt):
        if from_folder is not None:
            from millrace.folder_stream import lines  # noqa: PLC0415

            found = lines(from_folder, follow=not no_follow, from_beginning=from_beginning or no_follow)
        else:
            assert bootstrap is not None
            found = _from_kafka(
                bootstrap, topic, settings, timeout, from_beginning=from_beginning, no_follow=no_follow
            )
        _show(islice(found, count), as_json, survey)
    for sentence in survey.sentences(_dead_letters(from_folder, bootstrap, dead_letters, settings, timeout)):
        typer.echo(_printable(sentence), err=True)


def _dead_letters(
    results: Path | None, bootstrap: str | None, name: str, client: dict[str, str], timeout: float
) -> Iterator[bytes]:
    """Those in the folder `name` beside that of the results, or in the topic.

    None where that cannot be read, since nobody asked for it.
    """
    with suppress(SourceError):
        if results is not None:
            from millrace.folder_stream import lines  # noqa: PLC0415

            yield from lines(results.resolve().parent / name)
        elif bootstrap is not None:
            from millrace.kafka_stream import values  # noqa: PLC0415

            yield from values(bootstrap, name, client, timeout)


def _from_kafka(
    bootstrap: str,
    topic: str,
    client: dict[str, str],
    timeout: float,
    *,
    from_beginning: bool,
    no_follow: bool,
) -> Iterator[bytes]:
    from millrace import kafka_stream  # noqa: PLC0415

    if no_follow:
        return kafka_stream.values(bootstrap, topic, client, timeout)
    return kafka_stream.follow(bootstrap, topic, client, timeout, from_beginning=from_beginning)


def _show(results: Iterable[bytes], as_json: bool, survey: Survey) -> None:
    from schemas.results.results import read_result  # noqa: PLC0415

    for line in results:
        with suppress(ValueError):
            survey.add(read_result(line))
        if as_json:
            sys.stdout.write(line.decode(errors="replace") + "\n")
            sys.stdout.flush()
        else:
            typer.echo(compact(line))


def _local(ms: int) -> str:
    """Epoch milliseconds as local time; a time that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(ms / 1000).isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def compact(line: bytes) -> str:
    """One line for a person: when, what, who, how fast, and where the record stands in its stream."""
    from schemas.results.results import read_result  # noqa: PLC0415

    try:
        r = read_result(line)
    except ValueError as e:
        return f"not a result ({e}): {_printable(line[:80].decode('utf-8', 'replace'))}"
    when = "-" if r.event_time is None else _local(r.event_time)
    model = f"{r.model} {short(r.version)} {r.digest[:8]}" if r.model else "-"
    scores = " ".join(f"{name}={_score(value)}" for name, value in r.scores.items())
    place = f"{r.source}/{r.partition}@{r.offset}"
    text = f"{when}  {r.data_type}  {r.outcome.value}  {model}  {scores or '-'}  {r.ms:.3f} ms  {place}"
    return _printable(text)


def _score(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        more = f",… {len(value)}" if len(value) > _SHOWN else ""
        return f"[{','.join(_score(v) for v in value[:_SHOWN])}{more}]"
    return str(value)


def _printable(text: str) -> str:
    """Names come from records and models: none may move the cursor or break the line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
