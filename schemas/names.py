"""Names that stand in each result and event, whoever gave them."""

from __future__ import annotations

LONGEST_NAME = 200
"""Characters."""


def excess_of_name(name: str) -> str:
    """The name and by how much it is too long, for a message; empty where it is not."""
    if len(name) <= LONGEST_NAME:
        return ""
    return f"{name[:40]!r}... of {len(name):,} characters; {LONGEST_NAME} are the most"


def fault_of_alias(alias: str) -> str:
    """Why this is no alias of a model, empty where it is one. Commands read `4` and `v4` as versions."""
    if not alias or alias.removeprefix("v").isdecimal():
        return f"{alias!r} is no alias: it must not be empty, nor a number"
    if alias != alias.strip() or not alias.isprintable():
        return f"{alias!r} is no alias: it has spaces around it, or signs that nobody sees"
    return ""
