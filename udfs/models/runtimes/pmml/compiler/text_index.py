"""TextIndex: how often a term stands in a text."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError
from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
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
from udfs.models.runtimes.pmml.compiler.functions import constant_argument
from udfs.models.runtimes.pmml.compiler.patterns import Pattern, Replacement, pattern, replacement
from udfs.models.runtimes.pmml.compiler.types import Type

_ROUNDS = 100


@compiles("TextIndex")
def _text_index(element: ET.Element, site: Site) -> Expression:
    if flag(element, "tokenize", True) is False or element.get("maxLevenshteinDistance", "0") != "0":
        refuse("a TextIndex compares texts that are not split into words, or by distance")
    choice(element, "countHits", ("allHits", "bestHits"), "allHits")  # the same without a distance
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

    rows: tuple[tuple[Pattern, Replacement], ...]
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
    rows: list[tuple[Pattern, Replacement]] = []
    for cells in table_rows(required(element, "InlineTable")):
        if any(column not in cells for column in columns):
            refuse(f"a row of a {what} lacks a column")
        if cells.get(element.get("regexField", "regex"), "").strip().lower() != "true":
            refuse(f"a row of a {what} is no regular expression, and programs replace words or parts of them")
        said, by = (cells[column] for column in columns)
        plain = re.sub(r"\\(p\{\w*\}|.)", "", said)
        if not cased and plain != plain.lower():
            refuse(f"the pattern {said!r} of a {what} has upper case, and texts are compared without")
        found = pattern(said, what)
        rows.append((found, replacement(by if cased else by.lower(), found, what)))
    return _Normalization(tuple(rows), flag(element, "recursive", False))


def _normal(text: str, steps: tuple[_Normalization, ...], cased: bool) -> str:
    text = text if cased else text.lower()
    for step in steps:
        text = step.of(text)
    return text


def _words(element: ET.Element) -> Callable[[str], list[str]]:
    """How a text is split: by what separates words, or (an extension of JPMML) by what a word is."""
    if element.get("x-wordRE") is not None:
        found = pattern(element.get("x-wordRE", ""), "TextIndex").compiled
        return found.findall if not found.groups else lambda text: [m[0] for m in found.finditer(text)]
    separator = pattern(element.get("wordSeparatorCharacterRE", r"\s+"), "TextIndex").compiled
    step = separator.groups + 1  # what a group of the separator holds is no word

    def split(text: str) -> list[str]:
        return [word for word in map(_trimmed, separator.split(text)[::step]) if word]

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
