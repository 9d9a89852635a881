"""The house explains itself: each room says what lives there, and no name means two things in one wing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "udfs", "operators", "jobs", "millrace")
ROOMS = sorted(path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))


def modules(package: str) -> Iterator[Path]:
    """The package's files that people write."""
    return (f for f in sorted((ROOT / package).rglob("*.py")) if not f.name.endswith("_pb2.py"))


def wing_of(file: Path) -> str:
    """`udfs` and `schemas` are divided into wings, the other packages are one each."""
    first, *rest = file.relative_to(ROOT).parts[:-1]
    return f"{first}/{rest[0]}" if first in ("udfs", "schemas") and rest else first


def twice(files: Iterator[tuple[str, str, ast.Module]]) -> dict[tuple[str, str], list[str]]:
    """(wing, class name) -> its files, of the classes that stand twice at the top of a wing's modules."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for wing, file, tree in files:
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[wing, node.name].append(file)
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_class_name_stands_twice_in_a_wing() -> None:
    files = (
        (wing_of(file), str(file.relative_to(ROOT)), ast.parse(file.read_text()))
        for package in PACKAGES
        for file in modules(package)
    )
    assert twice(files) == {}


def test_a_second_class_of_a_name_is_found() -> None:
    one, other = ast.parse("class Entry: ..."), ast.parse("class Entry:\n    x: int\nclass Log: ...")
    assert twice(iter([("w", "a.py", one), ("w", "b.py", other)])) == {("w", "Entry"): ["a.py", "b.py"]}
    assert twice(iter([("w", "a.py", one), ("v", "b.py", other)])) == {}


@pytest.mark.parametrize("room", ROOMS, ids=[str(room.relative_to(ROOT)) for room in ROOMS])
def test_a_room_says_in_two_sentences_what_lives_there_and_what_may_not(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    prose = said.split("```")[0]
    sentences = [s for s in re.split(r"(?<=[.;])\s+", prose) if s.strip()]
    assert len(sentences) >= 2, f"{room.relative_to(ROOT)}/__init__.py: say what lives there and what may not"
    excluded = r"\b(no|not|nothing|never|none|only|belongs?)\b|elsewhere"
    assert re.search(excluded, prose, re.IGNORECASE), f"{room.relative_to(ROOT)}: say what may not live there"
