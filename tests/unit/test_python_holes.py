"""A Python with a known hole that nothing bounds is not started on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import CodeError, SettingsError
from udfs.models.python_holes import HOLES, Hole, check_python

ROOT = Path(__file__).resolve().parents[2]
HOLE = Hole("CVE-0000-1", "zipfile: it opens doors", {11: (3, 11, 20), 12: (3, 12, 3)})


def test_a_release_with_an_open_hole_is_refused_with_the_way_out() -> None:
    for version in ((3, 11, 0), (3, 11, 19), (3, 12, 2)):
        with pytest.raises(SettingsError, match=r"CVE-0000-1 .*opens doors.* Use Python 3\.1[12]"):
            check_python(version, (HOLE,))
    for version in ((3, 11, 20), (3, 12, 3), (3, 13, 0), (4, 0, 0)):
        check_python(version, (HOLE,))


def test_a_hole_that_is_bounded_here_is_no_reason() -> None:
    check_python((3, 11, 0), (Hole(HOLE.advisory, HOLE.what, HOLE.fixed, bounded_by="archive"),))


def test_a_release_that_a_distribution_has_mended_is_taken() -> None:
    mended = replace(HOLE, is_mended=lambda: True)
    check_python((3, 11, 0), (mended,))
    with pytest.raises(SettingsError):
        check_python((3, 11, 0), (mended, replace(HOLE, is_mended=lambda: False)))


def test_an_interpreter_without_a_hole_is_known_by_what_it_does() -> None:
    """This one is of a release that mends those that are asked for; Debian's 3.11.2 is, and answers alike."""
    asked = [hole for hole in HOLES if not hole.bounded_by]
    assert len(asked) == 2 and all(hole.is_mended() for hole in asked)


def test_this_interpreter_is_taken() -> None:
    check_python()


def test_what_bounds_a_hole_is_there() -> None:
    for hole in HOLES:
        if hole.bounded_by:
            module = hole.bounded_by.partition(" ")[0]
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), hole


def shipped() -> Iterator[tuple[Path, ast.AST]]:
    for package in ("schemas", "udfs", "operators", "jobs", "millrace"):
        for path in (ROOT / package).rglob("*.py"):
            yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())))


def imported(node: ast.AST) -> set[str]:
    names = {a.name for a in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
    return {part for name in (*names, getattr(node, "module", None) or "") for part in name.split(".")}


def test_tars_are_read_by_our_own_reader_only() -> None:
    """The holes of `tarfile` count as bounded because nothing that ships imports it."""
    for path, node in shipped():
        assert "tarfile" not in imported(node), path


def test_xml_is_never_read_in_pieces() -> None:
    """What `ElementTree` reads from a file, and what its other readers are fed, comes to expat in pieces."""
    in_pieces = {"iterparse", "XMLPullParser", "XMLParser", "ParseFile", "minidom", "sax", "pulldom", "lxml"}
    for path, node in shipped():
        assert not imported(node) & (in_pieces | {"parse"} if "etree" in imported(node) else in_pieces), path
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in in_pieces, path
            assert (node.value.id, node.attr) not in {("ET", "parse"), ("ElementTree", "parse")}, path


def test_jobs_and_task_managers_check_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from jobs import running
    from operators import code_guard

    def refuse() -> None:
        raise SettingsError("Python 3.11.0 has known holes")

    monkeypatch.setattr(running, "check_python", refuse)
    monkeypatch.setattr(code_guard, "check_python", refuse)
    assert running.run(lambda *_: None, None, [], lambda _: None) == 2
    assert "known holes" in capsys.readouterr().err
    with pytest.raises((SettingsError, CodeError), match="known holes"):
        code_guard.check_code(code_guard.code_digest())
