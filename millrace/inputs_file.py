"""The file of `--inputs`: how a model's inputs are made of records, in TOML or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from schemas.codecs.field_reading import FieldReading, Readings, check_words, parse_path, path_text
from schemas.errors import SettingsError
from udfs.models.runtimes.base import PartialInput

_TYPES = get_type_hints(FieldReading)
_SAID_AS_IT_IS = tuple(f for f in fields(FieldReading) if f.name not in ("name", "path", "bounds"))
"""What stands in the file as a reading has it, under the same name; `form` alone is called `from`."""

_Field: Any = msgspec.defstruct(
    "_Field",
    [
        ("path", str, ""),
        ("range", _TYPES["bounds"], None),
        *((f.name, _TYPES[f.name], f.default) for f in _SAID_AS_IT_IS),
    ],
    frozen=True,
    forbid_unknown_fields=True,
    rename={"form": "from"},
)
_StatedInput: Any = msgspec.defstruct(
    "_StatedInput",
    [
        ("fields", tuple[str | _Field, ...], ()),
        ("dtype", str | None, None),
        ("shape", tuple[int, ...] | None, None),
    ],
    bases=(_Field,),
    frozen=True,
    forbid_unknown_fields=True,
    rename={"form": "from"},
)


_StatedInputs: Any = msgspec.defstruct(
    "_StatedInputs",
    [("inputs", dict[str, _StatedInput], {}), ("fields", dict[str, _Field], {})],
    frozen=True,
    forbid_unknown_fields=True,
)


@dataclass(frozen=True, slots=True)
class InputsFile:
    """What a file declares: inputs with the names of their fields, and how these are read."""

    inputs: tuple[PartialInput, ...] = ()
    readings: Readings = ()


def read_inputs(path: Path | None) -> InputsFile:
    """Raises `SettingsError` for a file that cannot be understood, saying where."""
    if path is None:
        return InputsFile()
    decode = msgspec.json.decode if path.suffix.lower() == ".json" else msgspec.toml.decode
    try:
        said = decode(path.read_bytes(), type=_StatedInputs)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise SettingsError(f"{path.name} declares no inputs: {e}") from None
    except OSError as e:
        raise SettingsError(f"cannot read {path}: {e}") from e
    if not said.inputs and not said.fields:
        raise SettingsError(f"{path.name} has neither [inputs.NAME] nor [fields.NAME]")
    try:
        names = _Names({*_as_they_are(said.inputs), *said.fields})
        for name, field in said.fields.items():
            names.declared(replace(_reading(name, field), name=name))
        inputs = tuple(_input(name, i, names) for name, i in said.inputs.items())
    except ValueError as e:
        raise SettingsError(f"{path.name}: {e}") from None
    return InputsFile(inputs, names.readings)


def _as_they_are(inputs: dict[str, Any]) -> Iterator[str]:
    """The record's fields that inputs read without any change."""
    for name, i in inputs.items():
        for field in i.fields or (i,):
            if isinstance(field, str):
                yield field
            elif _is_plain(reading := _reading(name if field is i else "", field)):
                yield reading.name


def _is_plain(reading: FieldReading) -> bool:
    return reading == FieldReading(reading.name, (reading.name,))


class _Names:
    """Names for readings: their paths, unless another field has that name."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._made: dict[FieldReading, str] = {}
        self.readings: Readings = ()

    def declared(self, reading: FieldReading) -> None:
        self.readings += (reading,)

    def name_of(self, reading: FieldReading) -> str:
        if _is_plain(reading):
            return reading.name  # as it is
        if reading not in self._made:
            name = next(n for n in _candidates(reading.name) if n not in self._taken)
            self._taken.add(name)
            self._made[reading] = name
            self.declared(replace(reading, name=name))
        return self._made[reading]


def _candidates(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}#{number}"
        number += 1


def _input(name: str, said: Any, names: _Names) -> PartialInput:
    if not said.fields:
        own: tuple[str, ...] = (names.name_of(_reading(name, said)),)
    elif not _is_plain(_reading(name, said)):
        raise ValueError(f"input {name!r} has fields: what is said of them stands with each of them")
    else:
        own = tuple(f if isinstance(f, str) else names.name_of(_reading("", f)) for f in said.fields)
    return PartialInput(name, said.dtype, said.shape or None, own)


def _reading(name: str, said: Any) -> FieldReading:
    if not name and not said.path and said.constant is None:
        raise ValueError("a field of an input needs a path or a constant")
    path = parse_path(said.path) if said.path else (name or "constant",)
    reading = FieldReading(
        name=path_text(path) if said.path else path[0],  # type: ignore[arg-type]
        path=path,
        bounds=said.range,
        **{f.name: _hashable(getattr(said, f.name)) for f in _SAID_AS_IT_IS},
    )
    try:
        check_words(reading)
    except ValueError as e:
        raise ValueError(f"{reading.name!r}: {e}") from None
    return reading


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
