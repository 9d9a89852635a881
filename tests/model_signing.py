"""The package `model-signing`, in an environment of its own: what it needs does not fit ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devservices.process import ROOT

_WANTED = ("model-signing==1.1.1", "pyopenssl==26.0.0")


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run its command. Skips the test where the package cannot be had."""
    command = [_python(), "-m", "model_signing", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _python() -> Path:
    home = ROOT / ".cache" / "model-signing"
    python, uv = home / "bin" / "python", ROOT / ".cache" / "tools" / "bin" / "uv"
    if (home / "installed").is_file():
        return python
    try:
        for command in (
            [uv, "venv", "-q", "--clear", "--python", ROOT / ".venv" / "bin" / "python", home],
            [uv, "pip", "install", "-q", "--python", python, *_WANTED],
        ):
            subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        why = getattr(e, "stderr", "") or str(e)
        pytest.skip(f"the package model-signing cannot be installed: {' '.join(str(why).split())[:300]}")
    (home / "installed").touch()
    return python
