"""Declared readings of record fields on the wire."""

from __future__ import annotations

import json
from typing import Any

from schemas.codecs.field_reading import FieldReading, Form, Readings, check_words, parse_path, path_text
from schemas.errors import DescriptorError
from schemas.model_pb2 import ModelDescriptor, RecordField
from udfs.models.descriptor_parts import json_value


def readings_of(message: ModelDescriptor, about: str) -> Readings:
    """The descriptor's readings; whether they fit the inputs is found at loading.

    Raises `DescriptorError`.
    """
    readings: dict[str, FieldReading] = {}
    for field in message.record_fields:
        if not field.name or field.name in readings:
            raise DescriptorError(f"{about} declares the field {field.name!r} twice, or gives it no name")
        try:
            reading = _reading(field)
            check_words(reading)
        except ValueError as e:
            raise DescriptorError(f"{about}: the field {field.name!r}: {e}") from None
        readings[field.name] = reading
    return tuple(readings.values())


def field_message(reading: FieldReading) -> RecordField:
    """The reading for the wire. Raises `TypeError` or `ValueError` for values that JSON cannot hold."""
    low, high = reading.bounds or (None, None)
    message = RecordField(
        name=reading.name,
        path="" if reading.path == (reading.name,) else path_text(reading.path),
        form=reading.form.value,
        default=_json(reading.default),
        missing=reading.missing,
        constant=_json(reading.constant),
        scale=reading.scale,
        unit=reading.unit,
        record_unit=reading.record_unit,
        pad=_json(reading.pad),
        pad_at=reading.pad_at,
        keep=reading.keep,
    )
    if low is not None:
        message.low = low
    if high is not None:
        message.high = high
    return message


def _reading(field: RecordField) -> FieldReading:
    low = field.low if field.HasField("low") else None
    high = field.high if field.HasField("high") else None
    if low is not None and high is not None and low > high:
        raise ValueError(f"its numbers are between {low} and {high}, which is nothing")
    return FieldReading(
        name=field.name,
        path=parse_path(field.path) if field.path else (field.name,),
        form=Form(field.form),
        default=_value(field.default),
        missing=field.missing,
        constant=_value(field.constant),
        scale=field.scale,
        unit=field.unit,
        record_unit=field.record_unit,
        pad=_value(field.pad),
        pad_at=field.pad_at or "end",
        keep=field.keep,
        bounds=None if low is None and high is None else (low, high),
    )


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value)


def _value(text: str) -> Any:
    """Lists become tuples, so that a reading can be a key."""
    return _hashable(json_value(text)) if text else None


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError("an object is no value of an input")
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
