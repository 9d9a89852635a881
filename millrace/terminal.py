"""What commands print: names and reasons come from others, and must not move the cursor or hide a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

# C0 without tab and line end, DEL, C1, marks that reorder text or end a line, and lone surrogates
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    r"""The text with each control character as \uXXXX: within JSON that is the same text.

    >>> escaped("a\x1b[2Jb\tc")
    'a\\u001b[2Jb\tc'
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class EscapedStream:
    """A text stream that escapes what is written to it; all else is the stream's own."""

    def __init__(self, to: Any) -> None:
        self._to = to

    def write(self, text: str) -> int:
        """Write the text with its control characters escaped; returns its length as it was."""
        self._to.write(escaped(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line as `write` does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._to, name)


@contextmanager
def escaping() -> Iterator[None]:
    """Whatever is printed meanwhile is escaped, on stdout and on stderr."""
    with redirect_stdout(EscapedStream(sys.stdout)), redirect_stderr(EscapedStream(sys.stderr)):
        yield
