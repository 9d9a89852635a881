"""What is imported is asked for: by the command itself, or by the extra that it comes with."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from schemas.errors import CodeError
from schemas.extras import EXTRAS, what_to_install

ROOT = Path(__file__).resolve().parents[2]
OURS = ("schemas", "udfs", "operators", "jobs", "millrace")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_THE_COMMAND = {
    "boto3": "boto3",
    "botocore": "boto3",
    "celpy": "cel-python",
    "confluent_kafka": "confluent-kafka",
    "google": "protobuf",
    "lark": "cel-python",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "orjson": "orjson",
    "re2": "google-re2",
    "rich": "rich",
    "typer": "typer",
}
"""Top-level module -> the dependency that brings it."""
OF_AN_EXTRA = {"find_libpython": "jobs", "pemja": "jobs", "pydantic": "jobs", "pydantic_core": "jobs"}
"""Modules that come with what an extra asks for, and are not imported first."""
CONVERTERS = {"catboost", "joblib", "lightgbm", "onnx", "onnxmltools", "skl2onnx", "skops", "xgboost"}
CONVERTING = ("to_onnx.py", "boosted_trees.py")
"""What only `millrace.to_onnx` imports: of the environment that holds the model, and by name if it lacks."""


def imported() -> dict[str, str]:
    """Top-level modules of others -> a file that imports them, rather another than one of `CONVERTING`."""
    found: dict[str, str] = {}
    for package in OURS:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names}:
                    if file.name not in CONVERTING or top not in found:
                        found[top] = str(file.relative_to(ROOT))
    return {name: file for name, file in found.items() if name not in (*OURS, *sys.stdlib_module_names)}


def test_each_import_is_a_dependency_or_in_an_extra() -> None:
    known = {*OF_THE_COMMAND, *EXTRAS, *OF_AN_EXTRA}
    others = {name: file for name, file in imported().items() if name not in known}
    assert set(others) == CONVERTERS
    assert {Path(file).name for file in others.values()} <= set(CONVERTING)


def test_each_dependency_of_the_command_is_imported() -> None:
    asked = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert asked == set(OF_THE_COMMAND.values())
    assert set(OF_THE_COMMAND) <= set(imported())


def test_extras_are_those_of_the_project_and_of_modules_that_are_imported() -> None:
    assert set(EXTRAS.values()) <= set(PROJECT["optional-dependencies"])
    # functions of users get pandas' columns; grpc_tools runs in a process of its own
    assert set(EXTRAS) - set(imported()) <= {"pandas", "grpc_tools"}


def test_only_an_import_that_failed_is_told_what_to_install() -> None:
    missing = ModuleNotFoundError("No module named 'tensorflow.compat'", name="tensorflow.compat")
    told = "tensorflow.compat is not installed: pip install 'millrace[tensorflow]'"
    assert what_to_install(missing) == told
    assert what_to_install(ModuleNotFoundError("No module named 'x'", name="x")) == ""
    assert what_to_install(CodeError("tensorflow")) == ""
