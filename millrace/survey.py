"""What there is where no result is: dead letters by code, and results without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from schemas.results.records import DeadLetter, Outcome, decode
from schemas.results.results import Scored


class Survey:
    """Counts what passes by, so that a person who sees no scores is told why."""

    def __init__(self) -> None:
        self.seen = 0
        self._unscored: Counter[tuple[str, Outcome]] = Counter()
        self._reasons: dict[tuple[str, Outcome], str] = {}

    def add(self, result: Scored) -> None:
        """Count one result."""
        self.seen += 1
        if result.outcome is not Outcome.SCORED:
            kind = result.data_type, result.outcome
            self._unscored[kind] += 1
            self._reasons.setdefault(kind, result.reason)

    def sentences(self, dead_letters: Iterable[bytes]) -> Iterator[str]:
        """What to say where nothing was scored; nothing where something was."""
        if self.seen > self._unscored.total():
            return
        if not self.seen:
            yield "No results."
        for (data_type, outcome), count in self._unscored.most_common():
            what = f"{count:,} results of {data_type} are {outcome.value}"
            reason = self._reasons[data_type, outcome]
            yield f"{what}: {reason}." if reason else f"{what}."
            if outcome is Outcome.NO_MODEL:
                yield f"Publish a model for it: millrace publish MODEL --data-type {data_type}"
        yield from _by_code(dead_letters)


def _by_code(lines: Iterable[bytes]) -> Iterator[str]:
    """One sentence a data type and code, the commonest first, each with an example."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], DeadLetter] = {}
    for line in lines:
        try:
            letter = decode(DeadLetter, line)
        except ValueError:
            continue
        counts[letter.data_type, letter.code] += 1
        examples.setdefault((letter.data_type, letter.code), letter)
    for kind, count in counts.most_common():
        one = examples[kind]
        place = f"{one.source}/{one.partition}@{one.offset}"
        yield f"{count:,} dead letters of {kind[0]} are {kind[1]}, such as {place}: {one.reason}."
