"""The codec of a data type or a source, with whoever asks its schema registry."""

from __future__ import annotations

from schemas.codecs.base import Codec
from schemas.codecs.factory import CodecSpec, make_codec


def open_codec(spec: CodecSpec) -> Codec:
    """What reads records by these settings. Connects to nothing before the first record.

    Raises `CodecError`, and `SettingsError` for a registry's address or certificates that cannot be used.
    """
    if not spec.schema_registry.url:
        return make_codec(spec)
    from udfs.io.schema_registry import SchemaRegistry  # noqa: PLC0415

    return make_codec(spec, SchemaRegistry(spec.schema_registry).schema)
