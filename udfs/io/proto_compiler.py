"""Protobuf schemas as text to descriptors, by protoc in a process of its own.

Not in this one: the compiler's extension ends a process that has imported TensorFlow. It reads nothing but
what it is given: imports are found in a folder that holds the schemas, and among protobuf's own files.
"""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from schemas.errors import SchemaRegistryError
from udfs.io.own_python import own_python

_SECONDS = 30
_LONGEST_NAME = 200  # characters: below what any file system takes of a file, in whatever letters


def descriptor_of(text: str, imports: Mapping[str, str]) -> bytes:
    """The FileDescriptorProto of a schema. `imports`: name -> text of all that it imports, directly or not.

    Raises `SchemaRegistryError`, which says what cannot be compiled, or what to install.
    """
    python = own_python()
    if python is None or importlib.util.find_spec("grpc_tools") is None:
        raise SchemaRegistryError("no protoc is here to compile it: pip install 'millrace[protobuf]'")
    with tempfile.TemporaryDirectory(prefix="millrace-proto-") as name:
        folder = Path(name)
        try:
            for imported, content in imports.items():
                _write(folder, imported, content)
            _write(folder, "schema.proto", text)
        except (FileExistsError, NotADirectoryError, IsADirectoryError, UnicodeError) as e:
            raise SchemaRegistryError(f"it cannot be written to a file: {e!s:.200}") from None
        out = folder / "schema.set"
        command = [
            python,
            "-P",  # nor from where it runs: a schema may be called grpc_tools/protoc.py, and be Python
            "-m",
            "grpc_tools.protoc",
            f"-I{folder}",
            f"--descriptor_set_out={out}",
            str(folder / "schema.proto"),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - our own words; the schema is in a file
                command,
                cwd="/",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SchemaRegistryError(f"protoc took more than {_SECONDS} s") from None
        if done.returncode or not out.is_file():
            said = "".join(c if c.isprintable() else " " for c in done.stderr)
            raise SchemaRegistryError(f"protoc refuses it: {' '.join(said.split())[:300]}")
        (file,) = FileDescriptorSet.FromString(out.read_bytes()).file
        return file.SerializeToString()


def _write(folder: Path, name: str, text: str) -> None:
    path = PurePosixPath(name)
    odd = path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name
    if odd or len(name) > _LONGEST_NAME:
        raise SchemaRegistryError(f"it imports {name!r:.100}, which is no name of a file within a folder")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
