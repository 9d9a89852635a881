"""SQL text from values: quoted literals and the options of a table."""

from __future__ import annotations

from collections.abc import Mapping


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def control(character: bytes) -> str:
    """A SQL literal of one control character."""
    return f"U&'\\{ord(character):04x}'"


def options(values: Mapping[str, str]) -> str:
    """What stands in the parentheses after WITH."""
    return ", ".join(f"{literal(name)} = {literal(value)}" for name, value in values.items())
