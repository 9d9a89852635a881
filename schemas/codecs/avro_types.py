"""The types within a parsed Avro schema, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from schemas.codecs.avro_walk import NAMED


def with_types(part: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A type of a parsed schema, as a dict, with what `change` makes of each type in it in that one's place:
    of its fields, items, values, of what it is, and of the named types that it brings."""
    made = dict(part)
    for key, value in part.items():
        if key == "fields":
            made[key] = [{**field, "type": change(field["type"])} for field in value]
        elif key == NAMED:
            made[key] = {name: change(one) for name, one in value.items()}
        elif key in ("type", "items", "values"):
            made[key] = change(value)
    return made
