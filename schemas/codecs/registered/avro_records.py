"""Avro behind a registry's id: each record is read by its writer's schema, as the reader's has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from schemas.codecs.avro_resolution import check_units
from schemas.codecs.avro_schema import AvroSchema, avro_schema, read_record
from schemas.codecs.registered.lookup import RegisteredSchema
from schemas.errors import CodecError


def avro_parser(number: int, found: RegisteredSchema, reader: AvroSchema | None) -> Callable[[bytes], dict]:
    """What reads the records of schema `number`. Without `reader` they are as their writer's schema has them.

    Raises `CodecError` for a schema that cannot be read by.
    """
    name = f"of id {number}"
    try:
        writer = avro_schema(_whole(found, {}), name, reads=False)
    except CodecError:
        raise
    except Exception as e:  # what holds no schema is walked through before it is looked at
        raise CodecError(f"the Avro schema {name} cannot be read: {type(e).__name__} {e!s:.120}") from None
    if reader is not None:
        check_units(writer.parsed, reader.parsed, f"the schema {name}")
    return lambda body: read_record(body, writer, reader)


def _whole(found: RegisteredSchema, defined: dict[str, None]) -> Any:
    """The schema with what it refers to in place of the first use of each name. Raises `ValueError`."""

    def placed(part: Any, space: str) -> Any:
        if isinstance(part, list):
            return [placed(p, space) for p in part]
        if isinstance(part, str):
            for name in (part, f"{space}.{part}"):
                if name in found.references and name not in defined:
                    defined[name] = None
                    return _whole(found.references[name], defined)
            return part
        if not isinstance(part, dict):
            return part
        space = str(part.get("namespace") or space)
        changed = dict(part)
        if "fields" in part:
            changed["fields"] = [{**f, "type": placed(f["type"], space)} for f in part["fields"]]
        for key in ("items", "values"):
            if key in part:
                changed[key] = placed(part[key], space)
        if isinstance(part.get("type"), dict | list):
            changed["type"] = placed(part["type"], space)
        return changed

    return placed(json.loads(found.text), "")
