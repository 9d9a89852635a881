"""What commands read: the lines of a folder or a file, or the messages of a topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from millrace.options import either


def lines_there(
    folder: Path | None, bootstrap: str | None, topic: str, client: list[str] | None, timeout: float
) -> Iterator[bytes]:
    """All that is there now.

    A usage error unless exactly one of a folder and Kafka is given. Raises `SourceError` where it cannot be
    read.
    """
    from millrace.values import parse_pairs  # noqa: PLC0415

    either(folder, bootstrap, "--from-folder")
    settings = parse_pairs(client, "--client")
    if folder is None:
        from millrace.kafka_stream import values  # noqa: PLC0415

        assert bootstrap is not None
        return values(bootstrap, topic, settings, timeout)
    from millrace.folder_stream import lines, lines_of  # noqa: PLC0415

    return lines_of(folder) if folder.is_file() else lines(folder)
