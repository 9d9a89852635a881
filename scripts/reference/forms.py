"""A class of data as a piece of a page: its name in messages, its docstring, its fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

_WORDS = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Any": "any value"}
_MARKDOWN = str.maketrans({"|": "\\|", "<": "&lt;"})


def form(kind: type, title: str, level: int = 3, without: str = "") -> str:
    """Heading, docstring, and a table of the fields as they stand in JSON or TOML, but for one."""
    return f"{'#' * level} {title}\n{_docstring(kind)}\n\n{fields(kind, without)}"


def fields(kind: type, without: str = "") -> str:
    """The table of a dataclass's or struct's fields; nothing where it has none."""
    rows = [_row(*one) for one in _fields(kind) if one[0] != without]
    return table("field | type | default", rows) if rows else ""


def table(head: str, rows: Iterable[str]) -> str:
    """Markdown; `head` and each row are cells with ` | ` between them."""
    line = "|".join("---" for _ in head.split(" | "))
    return "\n".join([f"| {head} |", f"|{line}|", *(f"| {row} |" for row in rows)]) + "\n\n"


def members(kind: type[Enum]) -> list[tuple[str, str]]:
    """Value and meaning of each member: the string that follows it in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for one, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(one, ast.Assign) and isinstance(after, ast.Expr):
            found[ast.unparse(one.targets[0])] = " ".join(str(ast.literal_eval(after.value)).split())
    return [(member.value, cell(found[member.name])) for member in kind]


def cell(text: str) -> str:
    """Text that a cell of a table can hold."""
    return " ".join(text.split()).translate(_MARKDOWN)


def _docstring(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").replace("<", "&lt;")


def _fields(kind: type) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return [(f.name, hints[f.name], _default(f)) for f in dataclasses.fields(kind)]
    return [(f.encode_name, hints[f.name], _default(f)) for f in msgspec.structs.fields(kind)]


def _default(field: Any) -> Any:
    """What a field is without a value; `...` where it must have one."""
    for value in (field.default, field.default_factory):
        if value not in (dataclasses.MISSING, msgspec.NODEFAULT):
            return value() if value is field.default_factory else value
    return ...


def _row(name: str, kind: Any, default: Any) -> str:
    if default is ...:
        shown = "required"
    elif default in (None, "", (), {}, []) or default is msgspec.UNSET:
        shown = ""
    elif isinstance(default, msgspec.Struct):
        shown = f"`{default.__struct_config__.tag}`" if default.__struct_config__.tag else ""
    elif dataclasses.is_dataclass(default):
        shown = ""  # its own fields say it
    else:
        shown = f"`{json.dumps(default) if isinstance(default, bool | tuple) else default}`"
    return f"`{name}` | {cell(_type(kind))} | {shown}"


def _type(kind: Any) -> str:
    """A type in words: `tuple[str, ...]` is a list of text."""
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not msgspec.UnsetType]
    if origin in (Union, types.UnionType):
        rest = [one for one in inner if one is not types.NoneType]
        tags = {one.__struct_config__.tag_field for one in rest if hasattr(one, "__struct_config__")}
        words = [str(*tags)] if len(rest) > 1 and tags else [_type(one) for one in rest]
        return " or ".join([*words, "null"] if len(rest) < len(inner) else words)
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return ", ".join(f"`{one}`" for one in inner or kind)
    if origin in (tuple, list, Sequence):
        return f"list of {', '.join(_type(one) for one in inner if one is not Ellipsis)}"
    if origin in (dict, Mapping):
        return f"object: {_type(inner[0])} to {_type(inner[1])}"
    name = getattr(kind, "__name__", str(kind))
    return _WORDS.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
