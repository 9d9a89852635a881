"""The package `model-signing`, in an environment of its own: what it needs does not fit ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.own_environment import python_with


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run its command. Skips the test where the package cannot be had."""
    python = python_with("model-signing", "model-signing==1.1.1", "pyopenssl==26.0.0")
    command = [python, "-m", "model_signing", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
