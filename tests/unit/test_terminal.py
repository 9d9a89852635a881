"""What others wrote does not control the terminal of who reads it."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.cli import app
from millrace.terminal import escaped
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, read_result, write_results

EVIL = "a\x1b[2J\x1b]0;title\x07\x9b31m\rb\u202ec\u2028d\x7f"


@given(st.text())
def test_nothing_that_controls_is_left_and_json_is_the_same(text: str) -> None:
    shown = escaped(text)
    assert all(c in "\t\n" or c.isprintable() or c in "\u00a0" or ord(c) > 0x9F for c in shown)
    assert not set(shown) & set("\x1b\x07\x9b\r\x7f\u202e\u2028")
    assert json.loads(escaped(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_tail_shows_what_came_without_obeying_it(tmp_path: Path, more: list[str]) -> None:
    stamp = Stamp("wine", EVIL, 1, "ab" * 32, Outcome.SCORED, 1.0)
    record = json.dumps({"said": EVIL}, ensure_ascii=False).encode()
    (line,) = write_results([record], stamp, Identity("s", [0], [0], [None]))
    (tmp_path / "a").write_bytes(line + b"\n")
    done = CliRunner().invoke(
        app, ["tail", "--from-folder", str(tmp_path), "--from-beginning", "--no-follow", *more]
    )
    assert done.exit_code == 0 and "title" in done.output
    assert not set(done.output) & set("\x1b\x07\x9b\r\x7f\u202e\u2028")
    if more:
        assert read_result(done.output.splitlines()[0].encode()).record == {"said": EVIL}, "JSON is the same"


def test_the_sentence_of_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "m.pmml"
    path.write_text(f"<PMML><x y='{EVIL[:1]}\x85'/></PMML>")
    done = CliRunner().invoke(app, ["verify", str(path), "--keys", str(path)])
    assert done.exit_code == 1 and "\x85" not in done.output
    assert orjson.loads(escaped('"\x9b"')) == "\x9b"
