"""`millrace serve-requests`: a small REST endpoint in front of the topic of prediction requests."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

import typer

from millrace.options import Client, Timeout
from schemas.errors import SettingsError

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


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
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Tokens, one a line: clients send one as Authorization: Bearer."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="For TLS: the certificate with its chain, PEM.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="For TLS: the certificate's key, PEM.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option("--client-ca", help="Mutual TLS: who must have signed the clients' certificates, PEM."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="What the header Host may say; repeat it. By default --host."),
    ] = None,
    most_connections: Annotated[int, typer.Option("--most-connections", min=1, help="At once.")] = 256,
    rate: Annotated[
        float, typer.Option("--rate", min=0, help="Requests a second of one address; 0: any number.")
    ] = 0.0,
    request_seconds: Annotated[
        float, typer.Option("--request-seconds", min=0.1, help="For the head of a request, and for its body.")
    ] = 10.0,
) -> None:
    """Take prediction requests by HTTP and put them on a topic, where jobs/assemble.py reads them.

    POST /predict with {"model": ..., "entities": {...}}, and if wanted id, version, expires_ms and fields.
    202 with the id when Kafka has it. At another address than this machine's own it wants tokens or the
    certificates of clients.
    """
    local = host in _LOCAL
    if not local and token_file is None and client_ca is None:
        raise typer.BadParameter(f"--host {host} is open to others: give --token-file or --client-ca")
    if (certificate is None) != (key is None) or (client_ca is not None and certificate is None):
        raise typer.BadParameter("TLS needs --certificate and --key, and --client-ca needs both")
    hosts = {name.lower() for name in allowed_host or ()} or (_LOCAL if local else {host.lower()})
    if not allowed_host and host in ("0.0.0.0", "::"):  # noqa: S104 - which is refused here
        raise typer.BadParameter(f"--host {host} has many names: say with --allowed-host which are served")

    from millrace.requests_app import Sender, make_app  # noqa: PLC0415
    from millrace.requests_guard import RequestGuard, RequestLimits  # noqa: PLC0415
    from millrace.requests_server import Listening, server  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415

    guard = RequestGuard(_tokens(token_file), RequestLimits(rate, request_seconds, frozenset(hosts)))
    own, private, others = (str(path) if path else "" for path in (certificate, key, client_ca))
    sender = Sender(bootstrap, topic, parse_pairs(client, "--client"), timeout)
    try:
        where = Listening(host, port, own, private, others, most_connections, request_seconds)
        running = server(make_app(sender, guard), where)
    except (OSError, ssl.SSLError) as e:
        sender.close()
        raise SettingsError(f"the certificates cannot be used: {e}") from None
    running.run()


def _tokens(path: Path | None) -> list[str]:
    """Raises `SettingsError` for a file without any, or with one that can be guessed."""
    if path is None:
        return []
    try:
        tokens = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"the tokens {path} cannot be read: {e}") from None
    if not tokens or min(map(len, tokens)) < 16:
        raise SettingsError(f"{path} must hold tokens of 16 characters or more, one a line")
    return tokens
