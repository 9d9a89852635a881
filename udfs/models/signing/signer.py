"""Signing a descriptor with a private key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.errors import SettingsError
from schemas.model_pb2 import ModelDescriptor
from udfs.models.signing.bundle import signed_bytes, write_bundle
from udfs.models.signing.covered import publication_of, resources_of
from udfs.models.signing.keys import fingerprint, hash_of, public_pem
from udfs.models.signing.statement import Terms, statement_of


@dataclass(frozen=True, slots=True)
class DescriptorSigner:
    """Signs for the jobs that `audience` names, for `valid_ms`. `now`: epoch nanoseconds; the counter is made
    of it, so that it grows wherever the key is used."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    audience: tuple[str, ...]
    valid_ms: int = 90 * 86_400_000
    now: Callable[[], int] = time.time_ns

    def sign(self, descriptor: bytes) -> bytes:
        """The descriptor with its signature. Raises `SignatureError` for a model by location without its
        digest."""
        message = ModelDescriptor.FromString(descriptor)
        now = self.now()
        issued = now // 1_000_000
        published = publication_of(message)
        terms = Terms(published, self.audience, issued, issued + self.valid_ms, now // 1000)
        name = published.name or published.data_type
        payload = statement_of(name, resources_of(message), terms)
        public = self.key.public_key()
        signature = self.key.sign(signed_bytes(payload), ec.ECDSA(hash_of(public)))
        message.bundle = write_bundle(payload, signature, fingerprint(public))
        return message.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class SignsWith:
    """How a job signs what it publishes: `key` is a path where it runs, so that no key travels with the job;
    its password is in the environment there."""

    key: str
    audience: tuple[str, ...]

    def signer(self) -> DescriptorSigner:
        """Raises `SettingsError`."""
        return DescriptorSigner(read_private_key(Path(self.key), key_password()), self.audience)


def key_password() -> str:
    """Of private keys: what MILLRACE_SIGNING_PASSWORD says; empty: none."""
    return os.environ.get("MILLRACE_SIGNING_PASSWORD", "")


def read_private_key(path: Path, password: str = "") -> ec.EllipticCurvePrivateKey:
    """Raises `SettingsError`."""
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, password.encode() or None)
    except OSError as e:
        raise SettingsError(f"the key {path} cannot be read: {e.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        how = "with another password" if password else "or it has a password"
        raise SettingsError(f"{path} is no private key as PEM, {how}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} is not a key of the curve P-256, P-384 or P-521")
    try:
        hash_of(key.public_key())
    except ValueError as e:
        raise SettingsError(f"{path}: {e}") from None
    return key


def new_key(password: str = "") -> tuple[bytes, bytes]:
    """A new key of the curve P-256: the private and the public one, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    how = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return private, public_pem(key.public_key())
