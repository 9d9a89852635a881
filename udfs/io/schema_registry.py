"""A client of schema registries that speak Confluent's protocol: the schema of an id, and what it refers to.

Records wait while the registry is out of reach: nothing of them is lost, Flink holds back their source, and
the log says why.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from schemas.codecs.factory import RegistrySpec
from schemas.codecs.registered.lookup import RegisteredSchema, SchemaType, UnknownSchemaError
from schemas.errors import CodecError, SchemaRegistryError, SettingsError

_log = logging.getLogger(__name__)

_MOST_BYTES = 8 << 20  # of one answer
_MOST_REFERENCES = 200  # of one schema, those of its references among them
_MOST_UNKNOWN = 10_000  # ids that are remembered as unknown
_UNKNOWN_SHARE, _UNKNOWN_MOST = 0.1, 1.0  # of the time, and seconds of it, that asking in vain may take
_LARGEST_ID = 2**31 - 1  # what comes after them some registries answer as if they were broken
_SERIALIZED = {"format": "serialized"}  # protobuf as descriptors, which need no compiler
_FIRST_WAIT, _LONGEST_WAIT, _SAY_EVERY = 0.2, 5.0, 30.0


class _UnavailableError(Exception):
    """The registry gives no answer, or none of its protocol. The message says which."""


class SchemaRegistry:
    """Asks for schemas by id. Used by several threads: one asks, the others wait for what it learns.

    What it was told is for its callers to remember: schemas of an id never change. Ids that it does not know
    cost a tenth of the time at most, however many records name: one that is not asked for then is unknown.

    Raises `SettingsError` for an address that is none, and for files of certificates that cannot be read.
    """

    def __init__(
        self,
        spec: RegistrySpec,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(spec.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise SettingsError(
                "codec.schema_registry.url is an address such as https://registry:8081, "
                "without user and password"
            )
        self._url, self._name, self._spec = spec.url.rstrip("/"), parts.netloc, spec
        self._client = _client(spec)
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._unknown: dict[int, float] = {}  # id -> when to ask for it again
        self._allowed, self._allowed_at, self._denied_at = _UNKNOWN_MOST, clock(), -_SAY_EVERY

    def schema(self, number: int) -> RegisteredSchema:
        """The schema of an id. Raises `UnknownSchemaError`, `CodecError` for one that is too large, and
        `SchemaRegistryError` where the registry was out of reach for the whole of `wait_s`."""
        with self._lock:
            now = self._clock()
            if number > _LARGEST_ID or now < self._unknown.get(number, 0.0):
                raise UnknownSchemaError
            self._allow(number, now)
            return self._waiting(lambda: self._asked(number))

    def _allow(self, number: int, now: float) -> None:
        """Raise `UnknownSchemaError` where too much time has gone into ids that there are not."""
        earned = (now - self._allowed_at) * _UNKNOWN_SHARE
        self._allowed, self._allowed_at = min(self._allowed + earned, _UNKNOWN_MOST), now
        if self._allowed > 0:
            return
        if now - self._denied_at >= _SAY_EVERY:
            self._denied_at = now
            _log.warning(
                "schema registry %s: many records name ids that it does not know; not all are asked for",
                self._name,
            )
        raise UnknownSchemaError(
            f"the schema registry was not asked for id {number}: too many records name ids that it does not "
            "know; if it knows this one, replay the record"
        )

    def _asked(self, number: int) -> RegisteredSchema:
        started = self._clock()
        try:
            return self._of_id(number)
        except UnknownSchemaError:
            now = self._clock()
            self._allowed -= now - started
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[number] = now + self._spec.unknown_s
            raise

    def close(self) -> None:
        self._client.close()

    def _waiting(self, ask: Callable[[], RegisteredSchema]) -> RegisteredSchema:
        started, wait, said = self._clock(), _FIRST_WAIT, -_SAY_EVERY
        while True:
            try:
                found = ask()
            except _UnavailableError as e:
                waited = self._clock() - started
                if waited >= self._spec.wait_s:
                    raise SchemaRegistryError(
                        f"the schema registry {self._name} was out of reach for {waited:.0f} s: {e}. "
                        "The job goes on from its last checkpoint when it starts again"
                    ) from None
                if waited - said >= _SAY_EVERY:
                    said = waited
                    _log.warning(
                        "schema registry %s: %s; records wait for it since %.0f s", self._name, e, waited
                    )
                self._sleep(min(wait, max(self._spec.wait_s - waited, 0.0)))
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if said >= 0:
                    _log.warning("schema registry %s answers again; records go on", self._name)
                return found

    def _of_id(self, number: int) -> RegisteredSchema:
        path = f"/schemas/ids/{number}"
        answer = self._get(path)
        if answer.get("schemaType") == SchemaType.PROTOBUF:
            answer = self._get(path, _SERIALIZED)
        return _compiled(self._whole(answer, [_MOST_REFERENCES]), number)

    def _whole(self, answer: Mapping[str, Any], left: list[int]) -> RegisteredSchema:
        kind, text = str(answer.get("schemaType") or SchemaType.AVRO), answer.get("schema")
        refers = answer.get("references") or []
        if not isinstance(text, str) or not isinstance(refers, list):
            raise _UnavailableError("its answer holds no schema")
        references: dict[str, RegisteredSchema] = {}
        for reference in refers:
            left[0] -= 1
            if left[0] < 0:
                raise CodecError(f"a schema refers to more than {_MOST_REFERENCES} others")
            try:
                subject, version = quote(str(reference["subject"]), safe=""), int(reference["version"])
                name = str(reference["name"])
            except (TypeError, KeyError, ValueError):
                raise _UnavailableError("its answer names no schema that another refers to") from None
            form = _SERIALIZED if kind == SchemaType.PROTOBUF else {}
            found = self._get(f"/subjects/{subject}/versions/{version}", form)
            references[name] = self._whole({"schemaType": kind, **found}, left)
        return RegisteredSchema(kind, text, references)

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The JSON object of an answer. Raises `_UnavailableError`, `UnknownSchemaError`, and `CodecError`
        for a schema that is too large."""
        import httpx  # noqa: PLC0415

        try:
            with self._client.stream("GET", self._url + path, params=query or None) as response:
                body = bytearray()
                packed = response.headers.get("content-encoding", "identity").strip().lower()
                if packed not in ("", "identity"):
                    raise _UnavailableError(f"it packs its answers ({packed[:40]!r}), which nobody asked for")
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        said = f"an answer has more than {_MOST_BYTES:,} bytes"
                        raise CodecError(said) if response.status_code == 200 else _UnavailableError(said)
        except httpx.HTTPError as e:
            raise _UnavailableError(
                f"it cannot be reached ({type(e).__name__} {e!s:.120})".rstrip()
            ) from None
        return _understood(response.status_code, bytes(body))


def _compiled(found: RegisteredSchema, number: int) -> RegisteredSchema:
    """Protobuf as descriptors, where the registry gave text; as it is where that cannot be compiled."""
    if found.type != SchemaType.PROTOBUF or _is_descriptor(found.text):
        return found
    from udfs.io.proto_compiler import descriptor_of  # noqa: PLC0415

    def described(schema: RegisteredSchema) -> RegisteredSchema:
        references = {name: described(inner) for name, inner in schema.references.items()}
        text = base64.b64encode(descriptor_of(schema.text, dict(_imports(schema)))).decode()
        return RegisteredSchema(schema.type, text, references)

    try:
        return described(found)
    except SchemaRegistryError as e:
        _log.warning("protobuf schema %d, which the registry gives as text: %s", number, e)
        return found


def _is_descriptor(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _imports(schema: RegisteredSchema) -> Iterator[tuple[str, str]]:
    for name, inner in schema.references.items():
        yield name, inner.text
        yield from _imports(inner)


def _understood(status: int, body: bytes) -> Mapping[str, Any]:
    if status in (401, 403):
        raise _UnavailableError(f"it refuses us (HTTP {status}): check the user and the password")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    if status == 404 and isinstance(answer, dict) and str(answer.get("error_code", "")).startswith("404"):
        raise UnknownSchemaError
    if status in (200, 404):
        raise _UnavailableError(f"it answers (HTTP {status}), but not as a schema registry: check the url")
    raise _UnavailableError(f"it answers HTTP {status}")


def _client(spec: RegistrySpec) -> Any:
    import ssl  # noqa: PLC0415

    import httpx  # noqa: PLC0415

    try:
        context = ssl.create_default_context(cafile=spec.ca_file or None)
        if spec.cert_file:
            context.load_cert_chain(spec.cert_file, spec.key_file or None)
    except (OSError, ssl.SSLError) as e:
        raise SettingsError(f"codec.schema_registry: a file of certificates cannot be used: {e}") from None
    return httpx.Client(
        auth=(spec.user, spec.password) if spec.user else None,
        verify=context,
        timeout=spec.timeout_s,
        headers={
            "Accept": "application/vnd.schemaregistry.v1+json, application/json",
            "Accept-Encoding": "identity",  # a short answer must not unpack to a long one
        },
    )
