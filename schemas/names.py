"""Names that stand in each result and event, whoever gave them."""

from __future__ import annotations

LONGEST_NAME = 200
"""Characters."""


def excess_of_name(name: str) -> str:
    """The name and by how much it is too long, for a message; empty where it is not."""
    if len(name) <= LONGEST_NAME:
        return ""
    return f"{name[:40]!r}... of {len(name):,} characters; {LONGEST_NAME} are the most"
