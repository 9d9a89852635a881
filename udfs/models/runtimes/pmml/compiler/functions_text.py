"""Functions of texts, and TextIndex: how often a term stands in a text."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import re2
from numpy.typing import NDArray

from schemas.errors import PredictError
from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column, any_missing
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    expression_of,
    flag,
    refuse,
    required,
    table_rows,
)
from udfs.models.runtimes.pmml.compiler.expressions import (
    Expression,
    Site,
    compile_expression,
    compiles,
    converted,
    read,
)
from udfs.models.runtimes.pmml.compiler.functions import (
    absences,
    argument_count,
    constant_argument,
    function,
    numeric_arguments,
    settled,
    tolerate,
)
from udfs.models.runtimes.pmml.compiler.types import Type

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
_ROUNDS = 100
_REPLACED = re.compile(r"\\|\$(?!\d)")
_CONVERSION = re.compile(r"(?:[^%]|%%)*%[-+ 0]*\d{0,2}(?:\.\d{1,2})?([df])(?:[^%]|%%)*")


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

    def replaced(self, by: str, text: str) -> str:
        _bound((len(text) + 1) * (len(by) + 1))
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


def _joined(*parts: str) -> str:
    _bound(sum(map(len, parts)))
    return "".join(parts)


def _bound(size: int) -> None:
    """Raises `PredictError` for a record of which a text would become too long."""
    if size > _LONGEST:
        raise PredictError(
            f"a text of the record would have up to {size:,} characters, the bound is {_LONGEST:,}"
        )


def _as_texts(name: str, given: Sequence[Expression]) -> list[Expression]:
    return [converted(a, Type.STRING, name) for a in given]


def _mapped(
    name: str, given: Sequence[Expression], each: Callable[..., object], kind: Type = Type.STRING
) -> Expression:
    computes = [a.compute for a in given]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        lists = [c.full(batch.count).tolist() for c in columns]
        values = np.empty(batch.count, kind.numpy)
        values[:] = [each(*row) for row in zip(*lists, strict=True)]
        return Column(values, any_missing(columns))

    return Expression(kind, compute, strict=True)


@function("uppercase", "lowercase", "trimBlanks")
def _shaped(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    shapes: dict[str, Callable[[str], str]] = {
        "uppercase": str.upper, "lowercase": str.lower, "trimBlanks": str.strip,
    }  # fmt: skip
    shape = shapes[name]
    return _mapped(name, _as_texts(name, given), shape)


@function("concat")
def _concat(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """What is missing is left out; missing where all is, or where a function had no result."""
    argument_count(name, given, 1)
    arguments = _as_texts(name, given)
    tolerate(arguments, site)
    computes, strict = [a.compute for a in arguments], [a.strict for a in arguments]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        absent, lost = absences(columns, strict, batch.count)
        texts = [c.full(batch.count) for c in columns]
        if absent is not None:
            texts = [np.where(gone, "", text) for gone, text in zip(absent, texts, strict=True)]
        values = np.empty(batch.count, object)
        values[:] = [_joined(*row) for row in zip(*(t.tolist() for t in texts), strict=True)]
        return Column(values, lost if lost is not None and lost.any() else None)

    return Expression(Type.STRING, compute)


@function("stringLength")
def _length(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    return _mapped(name, _as_texts(name, given), len, Type.INTEGER)


@function("substring")
def _substring(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 3, 3)
    start, size = (converted(a, Type.INTEGER, name) for a in given[1:])
    for one in (start, size):
        if one.is_constant and one.constant is not None and one.constant < (1 if one is start else 0):
            refuse("a substring begins before its text or has a negative length")
    text, *_ = _as_texts(name, given[:1])

    def cut(value: str, at: int, length: int) -> str:
        return value[at - 1 : at - 1 + length] if at >= 1 and length >= 0 else ""

    made = _mapped(name, (text, start, size), cut)
    if start.is_constant and size.is_constant:
        return made

    def compute(batch: Batch) -> Column:
        column = made.compute(batch)
        wrong = np.broadcast_to(
            (start.compute(batch).values < 1) | (size.compute(batch).values < 0), (batch.count,)
        )
        there = ~column.mask(batch.count)
        batch.refuse(wrong & there, f"{name!r} begins before its text or has a negative length")
        return column

    return replace(made, compute=compute)


@function("matches", "replace")
def _regular(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2 if name == "matches" else 3, 2 if name == "matches" else 3)
    (text,) = _as_texts(name, given[:1])
    found = pattern(constant_argument(given[1], f"the pattern of {name!r}"), name)
    if name == "matches":
        return _mapped(name, (text,), found.found_in, Type.BOOLEAN)
    by = _replacement(constant_argument(given[2], "the replacement of 'replace'"), name)
    return _mapped(name, (text,), lambda v: found.replaced(by, v))


def _replacement(said: str, what: str) -> str:
    """What a match is replaced by, as Python writes it."""
    if _REPLACED.search(said):
        refuse(f"the replacement {said!r} of {what!r} is not one that every program reads alike")
    return re.sub(r"\$(\d)", r"\\g<\1>", said)


@function("formatNumber")
def _format_number(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """By a pattern of printf with one conversion: `d` of an integer, `f` of a real."""
    argument_count(name, given, 2, 2)
    said = constant_argument(given[1], f"the pattern of {name!r}")
    found = _CONVERSION.fullmatch(said)
    (number,) = numeric_arguments(name, given[:1])
    if found is None or (found[1] == "d") != (number.kind is Type.INTEGER):
        refuse(f"the pattern {said!r} of {name!r} is not known for a {given[0].kind.value}")
    known = replace(number, compute=settled(number, name))
    return _mapped(name, [known], lambda value: said % value)


@function("formatDatetime")
def _format_date(name: str, given: Sequence[Expression], site: Site) -> Expression:
    from udfs.models.runtimes.pmml.compiler.types import STARTS, date_of, datetime_of  # noqa: PLC0415

    argument_count(name, given, 2, 2)
    said = constant_argument(given[1], f"the pattern of {name!r}")
    kind = given[0].kind
    at = converted(given[0], STARTS[kind][0], name) if kind in STARTS else given[0]
    known = {Type.DATE: "Ymdyj", Type.DATE_TIME: "YmdyjHMS", Type.TIME: "HMS"}.get(at.kind)
    if known is None or re.sub(f"%[{known}]", "", said).count("%"):
        refuse(f"the pattern {said!r} of {name!r} is not known for a {kind.value}")
    moment_of = date_of if at.kind is Type.DATE else datetime_of

    def written(number: int) -> str:
        when = moment_of(number)
        return when.strftime(said.replace("%Y", f"{when.year:04}"))  # else short where the year is

    return _mapped(name, [at], written)


@compiles("TextIndex")
def _text_index(element: ET.Element, site: Site) -> Expression:
    if flag(element, "tokenize", True) is False or element.get("maxLevenshteinDistance", "0") != "0":
        refuse("a TextIndex compares texts that are not split into words, or by distance")
    choice(element, "countHits", ("allHits",), "allHits")
    weights = choice(element, "localTermWeights", ("termFrequency", "binary", "logarithmic"), "termFrequency")
    cased = flag(element, "isCaseSensitive", False)
    made = site.scope.reading.normalizations  # an expression is compiled anew for each call of a function
    tables = element.findall("TextIndexNormalization")
    steps = tuple(made.get(e) or made.setdefault(e, _normalization(e, cased)) for e in tables)
    words = _words(element)
    text = converted(read(site.scope.find(element.get("textField"))), Type.STRING, "TextIndex")
    term = compile_expression(expression_of(element), site.inner(Type.STRING))
    said = constant_argument(term, "the term of a TextIndex")
    wanted = tuple(words(said if cased else said.lower()))
    if not wanted:
        refuse(f"the term {said!r} of a TextIndex holds no word")
    if tuple(words(_normal(said, steps, cased))) != wanted:
        refuse(
            f"the term {said!r} of a TextIndex is changed by what normalises texts, which is not read alike"
        )
    key = (words.__qualname__, cased, element.get("x-wordRE"), element.get("wordSeparatorCharacterRE"), steps)
    site.scope.reading.words.setdefault(key, set()).update(wanted if len(wanted) == 1 else ())
    known, inner = site.scope.reading.words[key], text.compute

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        split = _split(batch, column, lambda said: words(_normal(said, steps, cased)), known)
        counts = split.count(wanted)
        if weights == "logarithmic":
            return Column(np.log10(1.0 + counts), column.missing)
        return Column(np.minimum(counts, 1) if weights == "binary" else counts, column.missing)

    kind = Type.DOUBLE if weights == "logarithmic" else Type.INTEGER
    return replace(text, kind=kind, compute=compute)


@dataclass(frozen=True, slots=True)
class _Normalization:
    """What is replaced in a text, and by what, one behind the other; `again` until nothing changes."""

    rows: tuple[tuple[Pattern, str], ...]
    again: bool

    def of(self, text: str) -> str:
        """Raises `PredictError` for a text that goes on changing."""
        for _ in range(_ROUNDS if self.again else 1):
            before = text
            for found, by in self.rows:
                text = found.replaced(by, text)
            if text == before:
                return text
        if self.again:
            raise PredictError(f"a text of the record is not normalised in {_ROUNDS} rounds")
        return text


def _normalization(element: ET.Element, cased: bool) -> _Normalization:
    """Of rows that are no regular expressions the standard replaces words, and its evaluators any part."""
    what = "TextIndexNormalization"
    if flag(element, "isCaseSensitive", cased) != cased:
        refuse(f"a {what} minds upper case where its TextIndex does not, or the other way round")
    columns = [element.get(f"{name}Field", default) for name, default in (("in", "string"), ("out", "stem"))]
    rows: list[tuple[Pattern, str]] = []
    for cells in table_rows(required(element, "InlineTable")):
        if any(column not in cells for column in columns):
            refuse(f"a row of a {what} lacks a column")
        if cells.get(element.get("regexField", "regex"), "").strip().lower() != "true":
            refuse(f"a row of a {what} is no regular expression, and programs replace words or parts of them")
        said, by = (cells[column] for column in columns)
        plain = re.sub(r"\\(p\{\w*\}|.)", "", said)
        if not cased and plain != plain.lower():
            refuse(f"the pattern {said!r} of a {what} has upper case, and texts are compared without")
        rows.append((pattern(said, what), _replacement(by if cased else by.lower(), what)))
    return _Normalization(tuple(rows), flag(element, "recursive", False))


def _normal(text: str, steps: tuple[_Normalization, ...], cased: bool) -> str:
    text = text if cased else text.lower()
    for step in steps:
        text = step.of(text)
    return text


def _words(element: ET.Element) -> Callable[[str], list[str]]:
    """How a text is split: by what separates words, or (an extension of JPMML) by what a word is."""
    if element.get("x-wordRE") is not None:
        return pattern(element.get("x-wordRE", ""), "TextIndex").compiled.findall
    separator = pattern(element.get("wordSeparatorCharacterRE", r"\s+"), "TextIndex").compiled

    def split(text: str) -> list[str]:
        return [word for word in map(_trimmed, separator.split(text)) if word]

    return split


def _trimmed(word: str) -> str:
    """A word without punctuation at its ends; `$` and `+` are symbols, and stay."""
    start, end = 0, len(word)
    while start < end and unicodedata.category(word[start]).startswith("P"):
        start += 1
    while end > start and unicodedata.category(word[end - 1]).startswith("P"):
        end -= 1
    return word[start:end]


@dataclass(frozen=True, slots=True)
class _Split:
    """Texts as their words. `places`: of each word that is asked for alone, the rows that hold it and how
    often."""

    texts: list[list[str]]
    places: dict[str, tuple[list[int], list[int]]]

    def count(self, wanted: tuple[str, ...]) -> NDArray[np.int64]:
        """How often the words stand one behind the other in each text."""
        if len(wanted) > 1:
            size = len(wanted)
            starts = (range(len(text) - size + 1) for text in self.texts)
            found_at = zip(self.texts, starts, strict=True)
            return np.array(
                [sum(tuple(t[i : i + size]) == wanted for i in at) for t, at in found_at], np.int64
            )
        counts = np.zeros(len(self.texts), np.int64)
        found = self.places.get(wanted[0])
        if found is not None:
            counts[found[0]] = found[1]
        return counts


def _split(batch: Batch, column: Column, words: Callable[[str], list[str]], known: set[str]) -> _Split:
    """The words of each text, split once a call for all terms. `known`: the plan's one set of all terms whose
    texts are split alike."""
    # The column is kept with it, so that no other can come to have its id.
    kept = batch.memory.setdefault(id(column), (column, {}))[1]
    if id(known) not in kept:
        texts = [words(text) for text in column.full(batch.count).tolist()]
        places: dict[str, tuple[list[int], list[int]]] = {}
        for row, text in enumerate(texts):
            for word, times in Counter(w for w in text if w in known).items():
                rows, counts = places.setdefault(word, ([], []))
                rows.append(row)
                counts.append(times)
        kept[id(known)] = _Split(texts, places)
    return kept[id(known)]
