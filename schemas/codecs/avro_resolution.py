"""What Avro's schema resolution leaves to its users: what a reader's defaults are, and what numbers mean.

Values are converted as their writer's schema says, so a reader may have another unit or scale. Where only one
of both says that a number is a time, a date or a decimal, nobody knows what the other meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.codecs.avro_logical import MEANS
from schemas.codecs.avro_types import with_types
from schemas.codecs.avro_walk import CONVERT, NAMED
from schemas.errors import CodecError

_NUMBERS = ("int", "long", "float", "double")
_BYTES = ("bytes", "fixed", "string")
_RECORDS = ("record", "error")
_NOTHING = "of no logical type"


def with_defaults(parsed: Any) -> Any:
    """A parsed and marked schema, not recursive, whose defaults are values as records have them.

    fastavro gives a default as it stands in the schema: bytes as text, times in the schema's unit.
    Raises `ValueError` and whatever a conversion raises for a default that is no value of its type.
    """
    named = parsed.get(NAMED, {})

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(branch) for branch in part]
        if not isinstance(part, dict):
            return part
        made = with_types(part, changed)
        if "fields" in made:
            made["fields"] = [_field(field, named) for field in made["fields"]]
        return made

    return changed(parsed)


def _field(field: dict[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    return (
        field | {"default": _value(field["type"], field["default"], named)} if "default" in field else field
    )


def _value(part: Any, default: Any, named: Mapping[str, Any]) -> Any:
    """The default as a value of a parsed type."""
    if isinstance(part, list):  # of a union's branches the first that it may be
        return next(
            (_value(branch, default, named) for branch in part if _is_of(branch, default, named)), default
        )
    part, kind = _named(part, named)
    if kind in _RECORDS:
        types = {f["name"]: f["type"] for f in part["fields"]}
        return {k: _value(types[k], v, named) if k in types else v for k, v in default.items()}
    if kind == "array":
        return [_value(part["items"], v, named) for v in default]
    if kind == "map":
        return {k: _value(part["values"], v, named) for k, v in default.items()}
    value = default.encode("latin-1") if kind in ("bytes", "fixed") and isinstance(default, str) else default
    convert = part.get(CONVERT) if isinstance(part, dict) else None
    return value if convert is None else convert(value)


def _is_of(branch: Any, default: Any, named: Mapping[str, Any]) -> bool:
    kind = _named(branch, named)[1]
    kinds: Sequence[str] = ("null",)
    if isinstance(default, bool):
        kinds = ("boolean",)
    elif isinstance(default, int):
        kinds = _NUMBERS
    elif isinstance(default, float):
        kinds = _NUMBERS[2:]
    elif isinstance(default, str):
        kinds = (*_BYTES, "enum")
    elif isinstance(default, list):
        kinds = ("array",)
    elif isinstance(default, dict):
        kinds = (*_RECORDS, "map")
    return kind in kinds


def check_units(writer: Any, reader: Any, name: str) -> None:
    """Raise `CodecError` where a number means something else by one of two parsed schemas than by the other.

    `name`: of the writer's schema, for people.
    """
    written, read = writer.get(NAMED, {}), reader.get(NAMED, {})
    seen: set[tuple[str, str]] = set()

    def pairs(w: Any, r: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """What each number or bytes means to both. Lists, maps and unions add nothing to a path."""
        if isinstance(w, list):
            for branch in w:
                yield from pairs(branch, r, path)
            return
        w, kind = _named(w, written)
        r, other = _named(_matching(w, kind, r, read), read)
        if kind in _RECORDS and other in _RECORDS:
            if (w["name"], r["name"]) in seen:
                return
            seen.add((w["name"], r["name"]))
            fields = {name: f for f in r["fields"] for name in (*f.get("aliases", ()), f["name"])}
            fields |= {f["name"]: f for f in r["fields"]}
            for f in w["fields"]:
                if f["name"] in fields:
                    yield from pairs(f["type"], fields[f["name"]]["type"], (*path, f["name"]))
        elif kind in ("array", "map") and other == kind:
            key = "items" if kind == "array" else "values"
            yield from pairs(w[key], r[key], path)
        elif (kind in _NUMBERS and other in _NUMBERS) or (kind in _BYTES and other in _BYTES):
            yield path, _meaning(w), _meaning(r)

    for path, meant, other in pairs(writer, reader, ()):
        if meant != other:
            raise CodecError(
                f"{'.'.join(path)!r} is {meant} in {name} and {other} in the reader's: "
                "give a reader's schema that says the same"
            )


def _matching(writer: Any, kind: str, reader: Any, named: Mapping[str, Any]) -> Any:
    """The branch of the reader's type as which a value of the writer's is read; "null" for none."""
    branches = [_named(b, named) for b in (reader if isinstance(reader, list) else [reader])]
    same = [b for b, other in branches if other == kind]
    called = [b for b in same if isinstance(b, dict) and "name" in b and _short(b) == _short(writer)]
    group = next((g for g in (_NUMBERS, _BYTES) if kind in g), ())
    return next(iter([*called, *same, *(b for b, other in branches if other in group)]), "null")


def _short(part: Mapping[str, Any]) -> str:
    return str(part["name"]).rpartition(".")[2]


def _meaning(part: Any) -> str:
    return str(part.get(MEANS, _NOTHING)) if isinstance(part, dict) else _NOTHING


def _named(part: Any, named: Mapping[str, Any]) -> tuple[Any, str]:
    """A type that is no union, in full, and its kind."""
    if isinstance(part, str) and part in named:
        part = named[part]
    return part, part if isinstance(part, str) else part["type"]
