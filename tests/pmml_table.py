"""The table of exports in `docs/pmml.md`: `python -m tests.pmml_table` prints it as of now."""

from __future__ import annotations

import csv

from schemas.errors import ModelError
from tests.runtimes.test_pmml_exports import (
    EXPORTS,
    NAMES,
    REFERENCE_DIFFERS,
    differences,
    loaded,
    table,
    tolerance,
)

HEAD = ("| Exporter | Export | Kind | Scores as the library | Reference evaluator |", "|---|---|---|---|---|")


def verdict(name: str) -> str:
    """Whether the library's scores are met, or why the document is refused."""
    try:
        runtime = loaded(name)
    except ModelError as e:
        return "refused: " + str(e).partition(",")[0]
    wrong = differences(runtime, table(name, "input.csv"), table(name, "expected.csv"), tolerance(name))
    return "wrong" if wrong else f"yes, within {tolerance(name):.0e}"


def reference(name: str) -> str:
    """What the rows of boundaries, missing and unknown values show."""
    if name in REFERENCE_DIFFERS:
        return "differs: " + REFERENCE_DIFFERS[name]
    try:
        runtime = loaded(name)
    except ModelError:
        return ""
    rows, wanted = table(name, "stress.csv"), table(name, "stress_expected.csv")
    return "differs" if differences(runtime, rows, wanted, tolerance(name)) else f"agrees on {len(rows)} rows"


def lines() -> list[str]:
    """The table in Markdown, a row an export."""
    with (EXPORTS / "manifest.csv").open(newline="", encoding="utf-8") as file:
        manifest = {row["id"]: row for row in csv.DictReader(file)}
    made = []
    for name in NAMES:
        if name in manifest:
            row = manifest[name]
            short = name.partition(".")[2]
            kind = f"{row['class']}, {row['function']}"
            made.append(f"| {row['exporter']} | `{short}` | {kind} | {verdict(name)} | {reference(name)} |")
    return [*HEAD, *made]


if __name__ == "__main__":
    print("\n".join(lines()))
