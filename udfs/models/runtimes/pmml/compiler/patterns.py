"""Regular expressions as documents write them, in Java's way, where every program reads them alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from schemas.errors import PredictError
from udfs.models.runtimes.pmml.compiler.elements import refuse

# In an order in which no two of them look like a possessive quantifier, which is refused.
_PUNCTUATION = r"!\"#$%&'()+*,\-./:;<=>?@\[\\\]^_`{|}~"
_JAVA_CLASSES = {
    r"\p{Punct}": _PUNCTUATION, r"\p{Alpha}": "a-zA-Z", r"\p{Digit}": "0-9", r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Upper}": "A-Z", r"\p{Lower}": "a-z", r"\p{Space}": r" \t\n\x0b\f\r",
}  # fmt: skip
_JAVA_ONLY = re.compile(r"\\[pPQEGRXhHzk]|&&|[*+?}]\+|\(\?<?[a-zA-Z]|\\[1-9]")
_SPACE = r"\t\n\v\f\r "
_LINEAR = frozenset({r"\s", r"\s+", r"\W+", r"\w+", r"[^\w]+", r"\b\w+\b", r"\b\w\w+\b"})
"""Patterns that exporters write, and that Python's engine matches as fast as any."""
_OF_PYTHON = {r"(?u)\b\w\w+\b": r"\b\w\w+\b"}
"""How scikit-learn finds words where nobody says otherwise: letters are those of all languages. Java knows
`(?u)` too, and letters of ASCII only."""
_LONGEST = 1 << 24
_GROUP = re.compile(r"\$(\d)")


@lru_cache(maxsize=64)
def pattern(java: str, what: str) -> Pattern:
    """A regular expression of Java, where RE2 means the same by it; else refused.

    RE2 takes time in proportion to the text, whatever the pattern: Python's own engine can take for ever for
    a text of thirty characters, and holds the interpreter meanwhile. Java's classes (`\\s`, `\\w`, `\\d`) are
    ASCII.
    """
    if java in _OF_PYTHON:
        return Pattern(re.compile(_OF_PYTHON[java]))
    text = java
    for name, characters in _JAVA_CLASSES.items():
        outside = re.compile(r"(?<!\[)" + re.escape(name) + r"(?![^\[]*\])")
        text = outside.sub(f"[{characters}]".replace("\\", "\\\\"), text).replace(name, characters)
    if _JAVA_ONLY.search(text) or re.search(r"\[[^\]]*\[", text.replace("\\[", "")):
        refuse(f"the pattern {java!r} of {what} is not one that every program reads alike")
    if text in _LINEAR:
        return Pattern(re.compile(text, re.ASCII))
    options = re2.Options()
    options.log_errors = False
    said, has_end = _for_re2(text)
    try:
        return Pattern(re2.compile(said, options), has_end)
    except re2.error as e:
        reason = e.args[0].decode(errors="replace") if e.args and isinstance(e.args[0], bytes) else str(e)
        refuse(f"the pattern {java!r} of {what} cannot be read, or not matched in bounded time: {reason}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """`has_end`: it has a `$`, which Java and Python find before a last line break, too, and RE2 does not."""

    compiled: Any
    has_end: bool = False

    def found_in(self, text: str) -> bool:
        search = self.compiled.search
        return search(text) is not None or (self._broken(text) and search(text[:-1]) is not None)

    def replaced(self, by: Replacement, text: str) -> str:
        bound((len(text) + 1) * (by.size + 1))
        made: str = self.compiled.sub(by, text)
        return self.compiled.sub(by, text[:-1]) + "\n" if made == text and self._broken(text) else made

    def _broken(self, text: str) -> bool:
        return self.has_end and text.endswith("\n")


def _for_re2(text: str) -> tuple[str, bool]:
    """The pattern with `\\s` as Java and Python have it, with the vertical tab; and whether it has a `$`."""
    parts, inside, has_end, at = [], False, False, 0
    while at < len(text):
        one = text[at : at + 2] if text[at] == "\\" else text[at]
        at += len(one)
        inside = (inside or one == "[") and one != "]"
        has_end |= one == "$" and not inside
        if one == "\\s":
            one = _SPACE if inside else f"[{_SPACE}]"
        elif one == "\\S" and not inside:
            one = f"[^{_SPACE}]"
        parts.append(one)
    return "".join(parts), has_end


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a match is replaced by: texts, and numbers of the pattern's groups. A function, because RE2's
    module reads a text as a literal of Python, in which letters beyond ASCII are others."""

    parts: tuple[str | int, ...]
    size: int

    def __call__(self, match: Any) -> str:
        return "".join(p if isinstance(p, str) else match[p] or "" for p in self.parts)


def replacement(said: str, found: Pattern, what: str) -> Replacement:
    """As Java and XQuery write it. Refused where these differ, or the pattern has not the group."""
    pieces = _GROUP.split(said)
    groups = [int(k) for k in pieces[1::2]]
    if any("\\" in p or "$" in p for p in pieces[::2]) or any(k > found.compiled.groups for k in groups):
        refuse(
            f"the replacement {said!r} of {what!r} is not one that every program reads alike, or is of a "
            "group that its pattern has not"
        )
    parts = [int(p) if k % 2 else p for k, p in enumerate(pieces)]
    return Replacement(tuple(parts), len(said))


def bound(size: int) -> None:
    """Raises `PredictError` for a record of which a text would become too long."""
    if size > _LONGEST:
        raise PredictError(
            f"a text of the record would have up to {size:,} characters, the bound is {_LONGEST:,}"
        )
