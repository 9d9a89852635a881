"""Whether what was published may come in: each descriptor's signature, before anything in it is opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import EventKind, ModelEvent
from udfs.models.signing.counters import CounterStore, counter_name, decode_counter, encode_counter
from udfs.models.signing.covered import publication_of, resources_of
from udfs.models.signing.faults import SignatureError, SignatureFault
from udfs.models.signing.keys import KeysFile, PublicKey
from udfs.models.signing.statement import Covered, Terms


@dataclass(frozen=True, slots=True)
class SigningSpec:
    """`require`: what is not signed is refused. `keys`: path of the file of keys; empty: signatures are not
    looked at. `audience`: how a signature must name this job. `skew_ms`: by how much clocks may differ."""

    require: bool = False
    keys: str = ""
    audience: str = ""
    skew_ms: int = 300_000


class SignatureGate:
    """For one thread. `now`: epoch milliseconds."""

    def __init__(
        self, spec: SigningSpec, now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._spec, self._now = spec, now
        self._keys = KeysFile(Path(spec.keys)) if spec.keys else None

    def admit(self, descriptor: bytes, counters: CounterStore) -> bytes | ModelEvent:
        """The descriptor with the name of the key that signed it, or of none, in place of its signature; or
        the event that it is refused. Bytes that are no descriptor go on as they are, to be refused by who
        reads them."""
        message = ModelDescriptor()
        try:
            message.ParseFromString(descriptor)
        except DecodeError:
            return descriptor
        bundle = message.bundle
        try:
            signer = self._signer(message, bundle, counters)
        except SignatureError as e:
            return _refused(message, e, self._now())
        if not bundle and not message.signer:
            return descriptor
        message.ClearField("bundle")
        message.signer = signer
        return message.SerializeToString(deterministic=True)

    def _signer(self, message: ModelDescriptor, bundle: bytes, counters: CounterStore) -> str:
        if not bundle:
            if self._spec.require:
                raise SignatureError(
                    SignatureFault.UNSIGNED, "this job takes what is signed only; publish it with --sign"
                )
            return ""
        if self._keys is None:
            if self._spec.require:
                raise SignatureError(SignatureFault.KEYS, "no file of keys is set; see signing.keys")
            return ""
        key, terms = verified(message, bundle, self._keys, self._now())
        published = terms.publication
        self._check_terms(terms)
        key.check_right(published.data_type, published.operation, published.force)
        _count(key, terms, counters)
        return key.name

    def _check_terms(self, terms: Terms) -> None:
        now, spec = self._now(), self._spec
        if spec.audience not in terms.audience:
            raise SignatureError(
                SignatureFault.AUDIENCE,
                f"it is signed for {', '.join(terms.audience) or 'nobody'}, and this is {spec.audience!r}",
            )
        if terms.issued > now + spec.skew_ms:
            raise SignatureError(
                SignatureFault.EARLY,
                f"it was signed {(terms.issued - now) / 1000:.0f} s from now, by its date",
            )
        if terms.expires <= now:
            raise SignatureError(
                SignatureFault.EXPIRED,
                f"it was valid until {(now - terms.expires) / 1000:.0f} s ago; sign and publish it again",
            )


def verified(message: ModelDescriptor, bundle: bytes, keys: KeysFile, now_ms: int) -> tuple[PublicKey, Terms]:
    """Who signed the descriptor, and on which terms, which the caller must check. Raises `SignatureError`."""
    key, statement = keys.verified(bundle, now_ms)
    predicate = statement.predicate
    terms = predicate.millrace
    if terms is None:
        raise SignatureError(
            SignatureFault.UNREADABLE,
            "the signature is over files alone, and says neither for which data type nor for which job",
        )
    came = publication_of(message)
    if (differs := _difference(terms.publication, came)) is not None:
        raise SignatureError(SignatureFault.TAMPERED, f"{differs} is not what was signed")
    if resources_of(message) != predicate.resources:
        raise SignatureError(SignatureFault.TAMPERED, "the content is not what was signed")
    return key, terms


def _difference(signed: Covered, came: Covered) -> str | None:
    """The first field that differs; the digest of the descriptor comes last."""
    for field in Covered.__struct_fields__:
        if getattr(signed, field) != getattr(came, field):
            return f"the {field.replace('_', ' ')}"
    return None


def _count(key: PublicKey, terms: Terms, counters: CounterStore) -> None:
    published = terms.publication
    name = counter_name(key.fingerprint, published.data_type, published.name)
    packed = counters.get(name)
    if packed is not None and terms.counter <= (last := decode_counter(packed)):
        raise SignatureError(
            SignatureFault.REPLAYED,
            f"its counter is {terms.counter}, and {last} by the key {key.name} came before; sign it again",
        )
    counters.put(name, encode_counter(terms.counter))


def _refused(message: ModelDescriptor, error: SignatureError, now_ms: int) -> ModelEvent:
    return ModelEvent(
        kind=EventKind.REFUSED,
        data_type=message.dataType.strip(),
        name=message.name.strip(),
        version=message.version,
        digest=message.sha256.strip().lower(),
        at=now_ms,
        subtask=0,
        step=error.step,
        reason=str(error),
    )
