"""Declarations from files."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType

from schemas.errors import FeatureError
from schemas.features.declarations import Declarations, FeatureView, Reference, Source, read_declarations
from schemas.features.rules import check
from udfs.features.steps import check_expressions


def load_declarations(path: Path) -> Declarations:
    """From a `.toml` file, or a `.py` file with `DECLARATIONS`, or `SOURCES`, `REFERENCES` and `VIEWS`.

    They have been checked against each other. A Python file is executed: it is as trusted as the job. Raises
    `FeatureError` with the file, and the line where Python or TOML name one.
    """
    if path.suffix not in {".toml", ".py"}:
        raise FeatureError(f"{path}: declarations are in a .toml or a .py file")
    if not path.is_file():
        raise FeatureError(f"{path}: there is no such file")
    try:
        declared = _toml(path) if path.suffix == ".toml" else _python(path)
        check(declared)
        check_expressions(declared)
    except FeatureError as e:
        raise FeatureError(f"{path}: {e}") from e
    return declared


def _toml(path: Path) -> Declarations:
    try:
        return read_declarations(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise FeatureError(str(e)) from None


def _python(path: Path) -> Declarations:
    module = _execute(path)
    if hasattr(module, "DECLARATIONS"):
        found = module.DECLARATIONS
        if not isinstance(found, Declarations):
            raise FeatureError(f"DECLARATIONS is not Declarations but {type(found).__name__}")
        return found
    if not hasattr(module, "VIEWS"):
        raise FeatureError("neither DECLARATIONS nor VIEWS is in it")
    parts = []
    for name, form in (("SOURCES", Source), ("REFERENCES", Reference), ("VIEWS", FeatureView)):
        found = tuple(getattr(module, name, ()))
        for one in found:
            if not isinstance(one, form):
                raise FeatureError(f"{name} holds {type(one).__name__}, not only {form.__name__}")
        parts.append(found)
    return Declarations(sources=parts[0], references=parts[1], views=parts[2])


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"declarations_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except Exception as e:  # the user's file may raise anything
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path)]
        line = e.lineno if isinstance(e, SyntaxError) else (lines or [None])[-1]
        raise FeatureError(f"line {line}: {type(e).__name__}: {e}") from e
    finally:
        sys.dont_write_bytecode = writes
    return module
