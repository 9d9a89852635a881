"""A schema registry that speaks Confluent's protocol: Apicurio's, in memory, fetched when it is first
started."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from devservices.process import ROOT, Daemon, ServiceError, environment, free_port, java

VERSION = "2.6.13.Final"  # the newest that Java 17 runs
SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
_JAR = f"apicurio-registry-app-{VERSION}-runner.jar"
_CACHE = ROOT / ".cache" / "schema-registry"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class LocalSchemaRegistry(Daemon):
    """`with LocalSchemaRegistry() as registry: registry.register("orders-value", {"schema": "..."})`."""

    def __init__(self) -> None:
        super().__init__()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        where = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}")
        limits = ("-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
        self.run(java(*limits, *where, "-jar", _installed() / _JAR), self._answers)

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register a version: `schema` is the request of the protocol. Its id."""
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions",
            json.dumps(schema).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(json.load(answer)["id"])
        except urllib.error.HTTPError as e:
            raise ServiceError(f"the registry refuses {subject}: {e.code} {e.read()[:500]!r}") from None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _installed() -> Path:
    """The folder of the registry, fetched through Maven unless it is there. Raises `ServiceError`."""
    folder = _CACHE / VERSION
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _JAR).is_file():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
    command = ["mvn", "-B", "-q", _COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={_CACHE}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=False, timeout=600
    )
    packed = _CACHE / f"apicurio-registry-app-{VERSION}-all.tar.gz"
    if done.returncode or not packed.is_file():
        raise ServiceError(f"Maven could not fetch {artifact}:\n{(done.stdout + done.stderr)[-1000:]}")
    with packed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise ServiceError(f"{packed.name} has sha256 {digest}, and {SHA256} is expected: not unpacked")
    into = folder.with_name(f"{VERSION}.part")
    shutil.rmtree(into, ignore_errors=True)
    with tarfile.open(packed) as archive:
        archive.extractall(into, filter="data")
    into.rename(folder)
    packed.unlink()
