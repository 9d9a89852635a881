"""Codecs of records that name their schema: an id is looked up when it comes, and never again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

from schemas.codecs.base import Code, Codec, UnfitError, check_size, parse_each
from schemas.codecs.field_reading import Readings
from schemas.codecs.json_codec import JsonCodec
from schemas.codecs.matrix import finish
from schemas.codecs.registered.framing import SIZE, schema_id
from schemas.codecs.registered.lookup import Lookup, RegisteredSchema, UnknownSchemaError
from schemas.errors import CodecError
from schemas.tensors import Decoded, Input

Parser = Callable[[bytes], Any]
"""Makes a record of what follows the id; raises `UnfitError`."""
MakeParser = Callable[[int, RegisteredSchema], Parser]
"""Of a schema's id and the schema; raises `CodecError` where no records can be read by it."""

_MOST = 1000  # ids that are remembered; what a schema takes is the registry's to bound


class SchemaParsers:
    """Parses records by the schemas that they name.

    `makers`: by the type of a schema, what makes its parser. A record of an unknown id, of a schema of
    another type, or of one that nothing can be read by, raises `UnfitError`.
    """

    def __init__(self, lookup: Lookup, makers: Mapping[str, MakeParser], max_bytes: int) -> None:
        self._lookup, self._makers, self._max_bytes = lookup, makers, max_bytes
        self._known: OrderedDict[int, Parser] = OrderedDict()

    def __call__(self, payload: bytes) -> Any:
        parse, body = self.parser(payload)
        return parse(body)

    def parser(self, payload: bytes) -> tuple[Parser, bytes]:
        """The parser of a payload's schema, and what follows the id."""
        check_size(payload, self._max_bytes)
        number, body = schema_id(payload)
        parse = self._known.get(number)
        return parse or self._learned(number), body

    def learn(self, payloads: Iterable[bytes]) -> None:
        """Look up the schemas that these records name: to read them waits for nobody then."""
        for head in {payload[:SIZE] for payload in payloads}:
            with suppress(UnfitError):
                number, _ = schema_id(head)
                if number not in self._known:
                    self._learned(number)

    def _learned(self, number: int) -> Parser:
        try:
            found = self._lookup(number)
        except UnknownSchemaError as e:
            said = str(e) or f"the schema registry knows no schema of id {number}"
            raise UnfitError(Code.UNKNOWN_SCHEMA, said) from None
        except CodecError as e:
            parse = _refusing(f"the schema of id {number} cannot be used: {e}")
        else:
            parse = self._made(number, found)
        if len(self._known) >= _MOST:
            self._known.popitem(last=False)
        self._known[number] = parse
        return parse

    def _made(self, number: int, found: RegisteredSchema) -> Parser:
        make = self._makers.get(found.type)
        if make is None:
            known = " or ".join(self._makers)
            return _refusing(f"schema {number} is of type {found.type}, and records here are {known}")
        try:
            return make(number, found)
        except CodecError as e:
            return _refusing(str(e))


def _refusing(reason: str) -> Parser:
    def refuse(body: bytes) -> NoReturn:
        raise UnfitError(Code.UNPARSABLE, reason)

    return refuse


class RegisteredCodec:
    """`codec`, which reads by `parsers`."""

    def __init__(self, codec: Codec, parsers: SchemaParsers) -> None:
        self._codec, self._parsers = codec, parsers

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        return self._codec.decode(payloads, inputs, readings)

    def to_json(self, payload: bytes) -> bytes | None:
        return self._codec.to_json(payload)

    def learn(self, payloads: Iterable[bytes]) -> None:
        self._parsers.learn(payloads)


class RegisteredJsonCodec:
    """JSON behind an id: read as all other JSON is. The schema says nothing that reading needs."""

    def __init__(self, parsers: SchemaParsers, max_bytes: int) -> None:
        self._parsers, self._json = parsers, JsonCodec(max_bytes)

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        bodies, kept, bad = parse_each(payloads, self._body)
        decoded = self._json.decode(bodies, inputs, *((readings,) if readings else ()))
        if not bad:
            return decoded
        where = np.asarray(kept, np.intp)
        good = where if decoded.rows is None else where[decoded.rows]
        bad += [type(b)(kept[b.row], b.code, b.reason) for b in decoded.bad]
        return finish(decoded.columns, good.tolist(), bad)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            return self._json.to_json(self._body(payload))
        except UnfitError:
            return None

    def _body(self, payload: bytes) -> bytes:
        parse, body = self._parsers.parser(payload)
        return parse(body)
