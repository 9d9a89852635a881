"""Keys: who they belong to and what they may, read from a file that may change at any time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.utc_time import epoch_ms
from udfs.models.signing.bundle import read_bundle, signed_bytes
from udfs.models.signing.faults import SignatureError, SignatureFault
from udfs.models.signing.statement import Statement, read_statement

Right = Literal["publish", "force", "unpublish", "decide"]
RIGHTS: Mapping[str, Right] = {
    "SERVE": "publish",
    "WITHDRAW": "unpublish",
    "DECIDE": "decide",
    "EXPERIMENT": "decide",
}
"""Operation of a descriptor -> what its key must be allowed; what is forced needs `force` too."""

_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key (PEM, of the curve P-256, P-384 or P-521) and what it may.

    `data_types`: names, or `*` for any. `until`, in UTC unless it says otherwise: nothing that comes later is
    taken. `revoked`: nothing is, whenever it was signed.
    """

    public: str
    data_types: tuple[str, ...]
    may: tuple[Right, ...]
    until: datetime | None = None
    revoked: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, KeyEntry] = {}


class PublicKey:
    """One entry of the file of keys. `fingerprint`: SHA-256 in hex of the key as PEM, as bundles name it.
    `until_ms`: `until` in epoch milliseconds."""

    def __init__(self, name: str, entry: KeyEntry) -> None:
        """Raises `ValueError` for what is no public key of a known curve."""
        self.name, self.entry = name, entry
        try:
            key = serialization.load_pem_public_key(entry.public.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"keys.{name}: public is no public key as PEM") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise ValueError(f"keys.{name}: the key is not of the curve P-256, P-384 or P-521")
        self._key = key
        until = entry.until
        self.until_ms = None if until is None else epoch_ms(until.isoformat()) or 0  # 0: before 1970
        self.fingerprint = fingerprint(key)

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, over `data`."""
        try:
            self._key.verify(signature, data, ec.ECDSA(_HASHES[self._key.curve.name]()))
        except InvalidSignature:
            return False
        return True

    def check_right(self, data_type: str, operation: str, force: bool) -> None:
        """Raises `SignatureError`."""
        right = RIGHTS.get(operation)
        wanted = [right] if right else []
        if force:
            wanted.append("force")
        lacking = [w for w in wanted if w not in self.entry.may]
        if right is None or lacking:
            raise SignatureError(
                SignatureFault.NOT_ALLOWED,
                f"the key {self.name} may {', '.join(self.entry.may) or 'nothing'}, and this is to "
                f"{' and '.join(lacking) or operation}",
            )
        if not {"*", data_type} & set(self.entry.data_types):
            raise SignatureError(
                SignatureFault.NOT_ALLOWED,
                f"the key {self.name} is for {', '.join(self.entry.data_types) or 'no data type'}, "
                f"and this is for {data_type!r}",
            )


class Keyring:
    """The keys of one file."""

    def __init__(self, entries: Mapping[str, KeyEntry]) -> None:
        """Raises `ValueError` for an entry that is no key, and for one key under two names."""
        self._keys = [PublicKey(name, entry) for name, entry in entries.items()]
        if len({key.fingerprint for key in self._keys}) < len(self._keys):
            raise ValueError("one key stands under two names; what it may would be said twice")

    def signer(self, data: bytes, signature: bytes, hint: str, now_ms: int) -> PublicKey:
        """The key that made the signature. `hint`: its fingerprint; empty: any may have. Raises
        `SignatureError`."""
        named = [key for key in self._keys if hint in ("", key.fingerprint)]
        if not named:
            raise SignatureError(
                SignatureFault.FOREIGN_KEY,
                f"it is signed by the key {hint[:64]!r}, which is not among the keys",
            )
        key = next((key for key in named if key.signed(data, signature)), None)
        if key is None:
            raise SignatureError(
                SignatureFault.TAMPERED if hint else SignatureFault.FOREIGN_KEY,
                f"the signature is not one of the key {named[0].name} over this statement"
                if hint
                else "it is signed by none of the keys",
            )
        if key.entry.revoked or (key.until_ms is not None and now_ms >= key.until_ms):
            why = "is revoked" if key.entry.revoked else f"was to be used until {key.entry.until}"
            raise SignatureError(SignatureFault.REVOKED, f"the key {key.name} {why}")
        return key


class KeysFile:
    """A file of keys, read again whenever it has changed: keys come and go while jobs run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._keys: Keyring | str = "it has not been read"

    def keyring(self) -> Keyring:
        """What the file says now. Raises `SignatureError` where it cannot be read: whom it revoked nobody
        knows then, so that nobody is trusted."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._keys = _read(self._path.read_bytes())
                self._seen = seen
        except OSError as e:
            self._seen, self._keys = (), e.strerror or type(e).__name__
        if isinstance(self._keys, str):
            raise SignatureError(
                SignatureFault.KEYS, f"the file of keys {self._path} cannot be used: {self._keys}"
            )
        return self._keys

    def verified(self, bundle: bytes, now_ms: int) -> tuple[PublicKey, Statement]:
        """Who signed the bundle, and what is said in it. Raises `SignatureError`."""
        read = read_bundle(bundle)
        envelope, hint = read.dsse_envelope, read.verification_material.public_key.hint
        signature = envelope.signatures[0].sig
        key = self.keyring().signer(signed_bytes(envelope.payload), signature, hint, now_ms)
        return key, read_statement(envelope.payload)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(public_pem(key)).hexdigest()


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hash_of(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """The hash that signatures by such a key are made with. Raises `ValueError` for another curve."""
    if key.curve.name not in _HASHES:
        raise ValueError(f"the curve {key.curve.name} is not used; take P-256, P-384 or P-521")
    return _HASHES[key.curve.name]()


def _read(data: bytes) -> Keyring | str:
    try:
        return Keyring(msgspec.toml.decode(data, type=_File).keys)
    except (ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        return " ".join(str(e).split())
