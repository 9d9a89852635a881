"""A small schema registry that speaks Confluent's protocol, for tests of what a real one does not do on
demand: to be away, to refuse, to be at a port that was known before."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from devservices.process import free_port


@dataclass
class Certificate:
    """Of 127.0.0.1, signed by itself, in PEM."""

    folder: Path
    file: Path = field(init=False)
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file, self.key = self.folder / "registry.pem", self.folder / "registry.key"
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
        ]
        made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self.key), "-out", str(self.file)]
        subprocess.run(made, check=True, capture_output=True, timeout=60)


class SmallRegistry:
    """`schemas`: id -> the answer for it; `subjects`: (subject, version) -> an answer. `serialized` holds
    what is answered instead where the request says `format=serialized`. `asked`: the paths of all requests.

    Starts in a with-block or by `start`; the port is known before.
    """

    def __init__(self, user: str = "", password: str = "", certificate: Certificate | None = None) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[tuple[str, int], dict[str, Any]] = {}
        self.serialized: dict[str, str] = {}
        self.asked: list[str] = []
        self.broken: tuple[int, bytes] | None = None  # status and body of all answers
        self.headers: dict[str, str] = {}  # of all answers
        self._login = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        self._certificate = certificate
        self._port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._port}"
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                status, body = registry.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                for name, value in registry.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate.file, self._certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, login: str) -> tuple[int, bytes]:
        if self.broken is not None:
            return self.broken
        if login != self._login:
            return 401, b"who are you?"
        parts = urlsplit(path)
        steps = [unquote(step) for step in parts.path.split("/")[1:]]
        found: Mapping[str, Any] | None
        if steps[:2] == ["schemas", "ids"]:
            found = self.schemas.get(int(steps[2]))
        else:
            found = self.subjects.get((steps[1], int(steps[3])))
        if found is None:
            return 404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()
        if parse_qs(parts.query).get("format") == ["serialized"]:
            found = {**found, "schema": self.serialized[found["schema"]]}
        return 200, json.dumps(found).encode()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
