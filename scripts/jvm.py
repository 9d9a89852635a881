"""Compile operators/jvm to .cache/jars/lib/millrace-jvm.jar, where its sources have changed.

The jar lies beside the connectors, so that it is wherever they are: in a cluster's `lib/`, and in the class
path of a run without a cluster. Standard library only.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "operators" / "jvm"
LIB = ROOT / ".cache" / "jars" / "lib"
JAR = LIB / "millrace-jvm.jar"
RELEASE = "11"  # the oldest Java that Flink 2 runs on
_STAMP = "META-INF/sources.sha256"


class CompileError(Exception):
    """The Java classes cannot be compiled; the message is for the operator."""


def digest(sources: list[Path]) -> str:
    """Of the names and texts of the sources."""
    parts = (f"{file.relative_to(SOURCES)}\n{file.read_text()}" for file in sources)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def built(jar: Path) -> str:
    """The digest of the sources that the jar was made from; empty where there is none."""
    try:
        with zipfile.ZipFile(jar) as file:
            return file.read(_STAMP).decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        return ""


def compile_into(folder: Path, sources: list[Path], flink: Path) -> None:
    """Raises CompileError with what javac says."""
    jars = [*flink.glob("flink-dist-*.jar"), *flink.glob("flink-connector-files-*.jar")]
    jars += LIB.glob("flink-sql-connector-kafka-*.jar")
    command = [
        "javac",
        "--release",
        RELEASE,
        "-nowarn",
        "-d",
        folder,
        "-cp",
        ":".join(map(str, jars)),
        *sources,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CompileError("javac is not on PATH: install a JDK (Debian: openjdk-17-jdk-headless).") from None
    if done.returncode:
        raise CompileError(f"operators/jvm does not compile:\n{done.stderr}")


def main(flink: Path) -> None:
    """`flink`: the folder of Flink's own jars."""
    sources = sorted(SOURCES.rglob("*.java"))
    wanted = digest(sources)
    if built(JAR) == wanted:
        return
    with tempfile.TemporaryDirectory(dir=JAR.parent.parent) as name:
        classes = Path(name, "classes")
        classes.mkdir()
        compile_into(classes, sources, flink)
        made = Path(name, JAR.name)
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(classes.rglob("*.class")):
                file.write(path, path.relative_to(classes))
            file.writestr(_STAMP, wanted)
        made.replace(JAR)
    print(f"setup: compiled {len(sources)} Java files to {JAR.name}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except CompileError as problem:
        sys.exit(f"setup: {problem}")
