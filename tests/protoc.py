"""Protobuf's compiler, in a process of its own: its extension ends a process that has imported TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def descriptor_set(proto: Path) -> Path:
    """Compile a .proto file to a FileDescriptorSet beside it, with all that it imports."""
    made = proto.with_suffix(".set")
    where = [f"-I{proto.parent}", f"--descriptor_set_out={made}", "--include_imports", str(proto)]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *where], check=True, timeout=60)
    return made
