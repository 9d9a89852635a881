"""Code that is not what the job was submitted with is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operators.code_guard import check_code, code_digest
from schemas.errors import CodeError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("operators", "schemas", "udfs")


def digest_of(folder: Path) -> str:
    """The digest that a process of its own makes of the code in `folder`."""
    code = "from operators.code_guard import code_digest; print(code_digest())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_the_digest_follows_the_sources_and_not_the_place(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert digest_of(tmp_path) == digest_of(ROOT) == code_digest()
    with (tmp_path / "udfs" / "serving" / "scoring.py").open("a") as file:
        file.write("# another release\n")
    assert digest_of(tmp_path) != code_digest()


def test_other_code_is_refused_and_the_same_is_not() -> None:
    check_code(code_digest())
    with pytest.raises(CodeError, match="Replace the task managers"):
        check_code("0" * 64)
