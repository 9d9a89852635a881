"""Packages in environments of their own: what they need does not fit ours, or is for one test only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devservices.process import ROOT


def python_with(name: str, *wanted: str) -> Path:
    """The Python of an environment `name` that holds the packages, made at the first call.

    Skips the test where they cannot be had.
    """
    home = ROOT / ".cache" / name
    python, uv = home / "bin" / "python", ROOT / ".cache" / "tools" / "bin" / "uv"
    done = home / "installed"
    if done.is_file() and done.read_text() == "\n".join(wanted):
        return python
    try:
        for command in (
            [uv, "venv", "-q", "--clear", "--python", sys.executable, home],
            [uv, "pip", "install", "-q", "--python", python, *wanted],
        ):
            subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        why = getattr(e, "stderr", "") or str(e)
        pytest.skip(f"{wanted[0]} cannot be installed: {' '.join(str(why).split())[:300]}")
    done.write_text("\n".join(wanted))
    return python
