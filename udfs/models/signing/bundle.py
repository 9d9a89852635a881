"""The outer layers of a signature: a sigstore bundle with one DSSE envelope, signed by a key.

Sources: the sigstore bundle format 0.3, DSSE 1.0 (pre-authentication encoding), and the OpenSSF model signing
specification 1.0, section 4, method `key`.
"""

from __future__ import annotations

import msgspec

from udfs.models.signing.faults import SignatureError, SignatureFault

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_BYTES = 262_144
"""Of a bundle: far more than a statement of a model of a thousand files, and nothing to parse."""

_KNOWN = (MEDIA_TYPE, *(f"application/vnd.dev.sigstore.bundle+json;version=0.{n}" for n in (1, 2, 3)))


class KeyHint(msgspec.Struct, rename="camel"):
    """`hint`: SHA-256 in hex of the public key as PEM; empty in bundles by older programs."""

    hint: str = ""


class Material(msgspec.Struct, rename="camel"):
    public_key: KeyHint


class EnvelopeSignature(msgspec.Struct, rename="lower"):
    sig: bytes
    keyid: str | None = ""


class Envelope(msgspec.Struct, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[EnvelopeSignature]


class Bundle(msgspec.Struct, rename="camel"):
    """`verification_material` names the key, which the reader must have already."""

    media_type: str
    verification_material: Material
    dsse_envelope: Envelope


def signed_bytes(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """What a DSSE signature is over.

    >>> signed_bytes(b"{}", "text")
    b'DSSEv1 4 text 2 {}'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def write_bundle(payload: bytes, signature: bytes, hint: str) -> bytes:
    """As JSON. `hint`: of the public key."""
    envelope = Envelope(payload, PAYLOAD_TYPE, [EnvelopeSignature(signature)])
    return msgspec.json.encode(Bundle(MEDIA_TYPE, Material(KeyHint(hint)), envelope))


def read_bundle(data: bytes) -> Bundle:
    """Raises `SignatureError` for what is none with one signature by a key."""
    if len(data) > MOST_BYTES:
        raise _unreadable(f"the bundle has {len(data):,} bytes, and {MOST_BYTES:,} are the most")
    try:
        bundle = _BUNDLE_DECODER.decode(data)
    except (ValueError, RecursionError) as e:  # also of text that is no UTF-8
        raise _unreadable(f"it is no sigstore bundle signed by a key: {e}") from None
    if bundle.media_type not in _KNOWN:
        raise _unreadable(f"the bundle is of the kind {bundle.media_type[:80]!r}; {MEDIA_TYPE} is read")
    envelope = bundle.dsse_envelope
    if envelope.payload_type != PAYLOAD_TYPE:
        raise _unreadable(f"the payload is {envelope.payload_type[:80]!r}; {PAYLOAD_TYPE} is read")
    if len(envelope.signatures) != 1:
        raise _unreadable(f"the bundle has {len(envelope.signatures)} signatures; it must have one")
    return bundle


def _unreadable(why: str) -> SignatureError:
    return SignatureError(SignatureFault.UNREADABLE, why)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_BUNDLE_DECODER = msgspec.json.Decoder(Bundle)
