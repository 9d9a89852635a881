"""`millrace serve-requests`: a small REST endpoint in front of the topic of prediction requests."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.options import Client, Timeout


def serve_requests(
    *,
    bootstrap: Annotated[
        str, typer.Option("--bootstrap", envvar="MILLRACE_BOOTSTRAP", help="Kafka, as HOST:PORT[,...].")
    ],
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_REQUESTS_TOPIC", help="Of prediction requests.")
    ] = "requests",
    client: Client = None,
    timeout: Timeout = 5.0,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 8090,
) -> None:
    """Take prediction requests by HTTP and put them on a topic, where jobs/assemble.py reads them.

    POST /predict with {"model": ..., "entities": {...}}, and if wanted id, version, expires_ms and fields.
    202 with the id when Kafka has it. There is no authentication: unless told otherwise it listens on this
    machine only.
    """
    import uvicorn  # noqa: PLC0415

    from millrace.requests_app import Sender, make_app  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415

    sender = Sender(bootstrap, topic, parse_pairs(client, "--client"), timeout)
    uvicorn.run(make_app(sender), host=host, port=port, log_level="info", access_log=False)
