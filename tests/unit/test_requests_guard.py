"""Who may use the request endpoint, how often, and that nobody holds it up."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient
from typer.testing import CliRunner

from devservices.process import wait_until
from millrace.cli import app as command
from millrace.requests_app import make_app
from millrace.requests_guard import Rate, RequestGuard, RequestLimits
from millrace.requests_server import Listening, server

GOOD: dict[str, Any] = {"model": "estimate", "entities": {"house": "h"}}
TOKEN = "planted-token-0123456789"


class Taker:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, key: bytes, value: bytes) -> str:
        self.sent.append(value)
        return ""

    def close(self) -> None: ...


@contextmanager
def asking(guard: RequestGuard) -> Iterator[TestClient]:
    with TestClient(make_app(Taker(), guard)) as client:  # type: ignore[arg-type]
        yield client


def test_a_token_lets_in_and_nothing_else_does() -> None:
    with asking(RequestGuard(["another-token-0123456789", TOKEN])) as client:
        for said in (None, "", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
            headers = {} if said is None else {"authorization": said}
            answer = client.post("/predict", json=GOOD, headers=headers)
            assert answer.status_code == 401 and TOKEN not in answer.text
        assert client.post("/predict", json=GOOD, headers={"authorization": f"Bearer {TOKEN}"}).is_success
        assert client.get("/health").is_success


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_what_a_page_can_send_by_itself_is_refused(kind: str) -> None:
    with asking(RequestGuard()) as client:
        answer = client.post("/predict", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415
        ok = client.post("/predict", json=GOOD, headers={"content-type": "application/json; charset=utf-8"})
        assert ok.is_success


@pytest.mark.parametrize(("host", "status"), [
    ("api", 202), ("API:8090", 202), ("[::1]:8090", 202), ("evil.example", 421), ("api.evil", 421), ("", 421),
])  # fmt: skip
def test_the_host_that_was_asked_for(host: str, status: int) -> None:
    guard = RequestGuard(limits=RequestLimits(hosts=frozenset({"api", "[::1]"})))
    with asking(guard) as client:
        assert client.post("/predict", json=GOOD, headers={"host": host}).status_code == status


def test_a_client_that_asks_too_often_is_told_when_to_come_again() -> None:
    now = [0.0]
    guard = RequestGuard(rate=Rate(2, lambda: now[0]))
    with asking(guard) as client:
        codes = [client.post("/predict", json=GOOD).status_code for _ in range(3)]
        assert codes == [202, 202, 429]
        assert client.post("/predict", json=GOOD).headers["retry-after"] == "1"
        now[0] = 0.5
        assert client.post("/predict", json=GOOD).is_success


def test_rates_are_of_one_client_and_forgotten_in_time() -> None:
    rate = Rate(1, lambda: 0.0)
    assert [rate.wait("a"), rate.wait("a") > 0, rate.wait("b")] == [0.0, True, 0.0]
    for number in range(20_000):
        rate.wait(str(number))
    assert len(rate._buckets) <= 10_000


class Running:
    """The endpoint on a port of its own, in a thread."""

    def __init__(self, sender: Any, guard: RequestGuard, **where: Any) -> None:
        self._server = server(make_app(sender, guard), Listening(port=0, **where))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        wait_until(lambda: self._server.started, 20, lambda: "the endpoint does not start")
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def test_a_client_that_leaves_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Running(Taker(), RequestGuard()) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(
                    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 100\r\n\r\n{"
                )
        assert httpx.post(f"http://127.0.0.1:{port}/predict", json=GOOD).status_code == 202
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("begin", [b"", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_never_says_what_it_wants_is_cut_off(begin: bytes) -> None:
    running = Running(Taker(), RequestGuard(), header_seconds=0.2)
    with running as port, socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(begin)
        assert slow.recv(100) == b""


def test_a_body_that_does_not_end_is_cut_off() -> None:
    guard = RequestGuard(limits=RequestLimits(body_seconds=0.2))
    with Running(Taker(), guard) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_there_are_no_more_connections_than_were_set() -> None:
    with Running(Taker(), RequestGuard(), connections=2, header_seconds=60) as port:
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        try:
            wait_until(
                lambda: httpx.post(f"http://127.0.0.1:{port}/predict", json=GOOD).status_code == 503,
                20,
                lambda: "it takes more",
            )
        finally:
            for one in held:
                one.close()
        wait_until(
            lambda: httpx.post(f"http://127.0.0.1:{port}/predict", json=GOOD).status_code == 202,
            20,
            lambda: "it does not recover",
        )


def certificates(folder: Path) -> dict[str, Path]:
    """A CA, and certificates of a server and a client by it."""
    files: dict[str, Path] = {}

    def put(name: str, data: bytes) -> None:
        files[name] = folder / name
        files[name].write_bytes(data)

    ca_key = ec.generate_private_key(ec.SECP256R1())
    for name in ("ca", "server", "client"):
        key = ca_key if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        put(f"{name}.pem", made.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        put(f"{name}.key", private)
    return files


def test_mutual_tls_lets_in_who_has_a_certificate(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    by = {"certificate": files["server.pem"], "key": files["server.key"], "client_ca": files["ca.pem"]}
    with Running(Taker(), RequestGuard(), **{name: str(path) for name, path in by.items()}) as port:
        url = f"https://localhost:{port}/predict"
        context = ssl.create_default_context(cafile=str(files["ca.pem"]))
        with pytest.raises(httpx.TransportError):
            httpx.post(url, json=GOOD, verify=context)
        context.load_cert_chain(files["client.pem"], files["client.key"])
        assert httpx.post(url, json=GOOD, verify=context).status_code == 202


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "10.0.0.1"], "give --token-file or --client-ca"),
        (["--certificate", "x"], "TLS needs --certificate and --key"),
        (["--client-ca", "x"], "--client-ca needs both"),
        (["--host", "0.0.0.0", "--token-file", "x"], "say with --allowed-host"),
    ],
)
def test_what_would_be_open_is_not_started(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(command, ["serve-requests", "--bootstrap", "127.0.0.1:1", *arguments])
    assert done.exit_code == 2 and says in " ".join(done.output.split())


@pytest.mark.parametrize("text", ["", "short"])
def test_tokens_that_can_be_guessed_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    done = CliRunner().invoke(
        command, ["serve-requests", "--bootstrap", "127.0.0.1:1", "--token-file", str(path)]
    )
    assert done.exit_code == 1 and "16 characters" in done.output
