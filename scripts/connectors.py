"""Lock and install the jars of deploy/connectors.pom.xml. Standard library only: it runs before the
virtual environment exists.

`lock` resolves the pom with Maven and writes deploy/connectors.lock, one line a jar:
`group:artifact:version[:jar:classifier] sha256 where`.
`install` makes .cache/jars/<where>/ hold exactly the jars of the lock: it fetches what is missing
through Maven, and puts no file there whose sha256 is not the locked one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "deploy" / "connectors.pom.xml"
LOCK = ROOT / "deploy" / "connectors.lock"
JARS = ROOT / ".cache" / "jars"
STAMP = JARS / "verified"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
HEADER = "# Written by scripts/lock-connectors from connectors.pom.xml. Do not edit: run it again.\n"


class ConnectorError(Exception):
    """A jar cannot be resolved, fetched or trusted; the message is for the operator."""


@dataclass(frozen=True, order=True, slots=True)
class Jar:
    """One locked jar. `where` is its folder under .cache/jars."""

    where: str
    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def coordinates(self) -> str:
        tail = f":jar:{self.classifier}" if self.classifier else ""
        return f"{self.group}:{self.artifact}:{self.version}{tail}"

    @property
    def path(self) -> Path:
        tail = f"-{self.classifier}" if self.classifier else ""
        return Path(self.where) / f"{self.artifact}-{self.version}{tail}.jar"


def read_lock(text: str) -> list[Jar]:
    """Parse a lock. Raises ConnectorError naming the line that is not `coordinates sha256 where`."""
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r"([^:\s]+):([^:\s]+):([^:\s]+)(?::jar:(\S+))? ([0-9a-f]{64}) (\S+)", line)
        if found is None or ".." in found[6] or found[6].startswith("/"):
            raise ConnectorError(
                f"{LOCK.name} line {number} is not `group:artifact:version sha256 where`: {line}"
            )
        group, artifact, version, classifier, digest, where = found.groups()
        jars.append(Jar(where, group, artifact, version, classifier or "", digest))
    return jars


def digest_of(path: Path) -> str | None:
    """The sha256 of a file, or None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def maven(*arguments: str) -> None:
    """Run Maven; raises ConnectorError with its error lines."""
    try:
        done = subprocess.run(["mvn", "-B", "-q", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConnectorError("mvn is not on PATH: install Maven 3.8 or later.") from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise ConnectorError("Maven could not resolve the jars:\n" + "\n".join(lines[:5]))


def resolve(where: str) -> list[Jar]:
    """What Maven makes of one profile of the pom: its jars with all they need at run time."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "list"
        maven(
            *("-f", str(POM), "-P", where, f"{PLUGIN}:list", "-DincludeScope=runtime"),
            *("-DoutputAbsoluteArtifactFilename=true", f"-DoutputFile={listing}"),
        )
        text = re.sub(r"\x1b\[[0-9;]*m", "", listing.read_text())
    jars = []
    for line in text.splitlines():
        entry = line.strip().split(" -- module ")[0]
        parts = entry.split(":", 6 if entry.count(":") > 5 else 5)
        if len(parts) < 6 or parts[2] != "jar":
            continue
        group, artifact, _, *classifier, version, _, file = parts
        digest = digest_of(Path(file))
        if digest is None:
            raise ConnectorError(f"Maven listed {group}:{artifact}:{version} at {file}, which is no file.")
        jars.append(Jar(where, group, artifact, version, "".join(classifier), digest))
    if not jars:
        raise ConnectorError(f"Maven found no jar for the profile {where} of {POM.name}.")
    return jars


def lock() -> None:
    """Write the lock."""
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    profiles = [found.text or "" for found in ElementTree.parse(POM).iterfind(".//m:profile/m:id", space)]
    jars = sorted(jar for where in profiles for jar in resolve(where))
    if len({jar.path for jar in jars}) != len(jars):
        raise ConnectorError("Two jars of one folder have the same file name; exclude one in the pom.")
    LOCK.write_text(HEADER + "".join(f"{jar.coordinates} {jar.sha256} {jar.where}\n" for jar in jars))
    print(f"{LOCK.name}: {len(jars)} jars")


def fetch(jars: list[Jar], folder: Path) -> None:
    """Have Maven put exactly these jars, and nothing they depend on, under `folder`."""
    items = "".join(
        f"<artifactItem><groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version><classifier>{escape(jar.classifier)}</classifier>"
        f"<outputDirectory>{escape(str(folder / jar.where))}</outputDirectory></artifactItem>"
        for jar in jars
    )
    group, artifact, version = PLUGIN.split(":")
    pom = folder / "pom.xml"
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>millrace</groupId><artifactId>fetch</artifactId><version>1</version>"
        f"<packaging>pom</packaging><build><plugins><plugin><groupId>{group}</groupId>"
        f"<artifactId>{artifact}</artifactId><version>{version}</version>"
        f"<configuration><artifactItems>{items}</artifactItems></configuration>"
        "</plugin></plugins></build></project>"
    )
    maven("-f", str(pom), f"{PLUGIN}:copy")


def install() -> None:
    """Bring .cache/jars to what the lock says."""
    jars = read_lock(LOCK.read_text())
    # A file that has not changed since it was last verified is not read again.
    verified = STAMP.stat().st_mtime_ns if STAMP.is_file() else 0

    def is_there(jar: Jar) -> bool:
        path = JARS / jar.path
        if path.is_file() and path.stat().st_ctime_ns < verified and jar.sha256 in known:
            return True
        return digest_of(path) == jar.sha256

    known = set(STAMP.read_text().split()) if verified else set()
    with ThreadPoolExecutor() as pool:
        present = pool.map(is_there, jars)
        missing = [jar for jar, there in zip(jars, present, strict=True) if not there]
    if missing:
        print(f"setup: fetching {len(missing)} of {len(jars)} jars through Maven", flush=True)
        JARS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=JARS.parent) as name:
            folder = Path(name)
            fetch(missing, folder)
            for jar in missing:
                if (digest := digest_of(folder / jar.path)) != jar.sha256:
                    raise ConnectorError(
                        f"{jar.coordinates} has sha256 {digest}, but {LOCK.name} says {jar.sha256}: "
                        "not installed. Find out why before you lock it anew with scripts/lock-connectors."
                    )
            for jar in missing:
                (JARS / jar.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(folder / jar.path, JARS / jar.path)
    # A class path is made of whole folders, so a jar of an earlier lock must not stay in one.
    wanted = {JARS / jar.path for jar in jars} | {JARS / "lib" / "millrace-jvm.jar"}  # of scripts/jvm.py
    for stray in set(JARS.rglob("*.jar")) - wanted:
        stray.unlink()
    if missing or not verified:
        STAMP.write_text("\n".join(sorted({jar.sha256 for jar in jars})) + "\n")


if __name__ == "__main__":
    try:
        {"lock": lock, "install": install}[sys.argv[1]]()
    except ConnectorError as problem:
        sys.exit(f"connectors: {problem}")
