"""Code that is not what the job was submitted with is refused."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyflink.datastream.functions import Function

import operators
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
    with pytest.raises(CodeError, match="replace the task managers"):
        check_code("0" * 64)


def test_a_task_manager_finds_what_it_has_not_imported_in_the_folder_of_the_next_job(tmp_path: Path) -> None:
    """Flink removes a job's folder at its end; the next job brings the same code in another."""
    for job in ("first", "next"):
        for package in PACKAGES:
            target = tmp_path / job / package
            shutil.copytree(ROOT / package, target, ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import shutil, sys
first, second = sys.argv[1:]
sys.path.insert(0, first)
import udfs.io
from operators.code_guard import check_code, code_digest
check_code(code_digest())
shutil.rmtree(first)
sys.path.append(second)
import udfs.io.gathering, operators.sources.folder
check_code(code_digest())
print(udfs.io.gathering.__file__, operators.sources.folder.__file__)
"""
    places = [str(tmp_path / job) for job in ("first", "next")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *places], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [file.startswith(places[1]) for file in done.stdout.split()] == [True, True]


def functions() -> Iterator[type[Function]]:
    """All that runs in a task manager."""
    for found in pkgutil.walk_packages(operators.__path__, "operators."):
        module = importlib.import_module(found.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Function) and kind.__module__ == module.__name__:
                yield kind


def test_every_operator_begins_with_the_check() -> None:
    found = list(functions())
    assert len(found) > 15
    for kind in found:
        assert kind.open is not Function.open, kind
        first = inspect.getsource(kind.open).splitlines()[1:]
        assert any("check_code(self._code)" in line for line in first[:2]), kind
