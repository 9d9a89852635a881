"""Why a signature is not taken, each reason by a word of its own."""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import ModelError


class SignatureFault(StrEnum):
    """`UNSIGNED`: there is none. `UNREADABLE`: it is no bundle, or not all is in it. `FOREIGN_KEY`,
    `REVOKED`: by whom. `TAMPERED`: what is signed is not what came. `AUDIENCE`: it is for others. `EARLY`,
    `EXPIRED`: by the clock. `NOT_ALLOWED`: the key may not do this. `REPLAYED`: it came before, or newer ones
    did. `KEYS`: the file of keys cannot be read, so that nobody is known."""

    UNSIGNED = "unsigned"
    UNREADABLE = "unreadable signature"
    FOREIGN_KEY = "foreign key"
    REVOKED = "revoked key"
    TAMPERED = "tampered"
    AUDIENCE = "wrong audience"
    EARLY = "not valid yet"
    EXPIRED = "expired"
    NOT_ALLOWED = "not allowed"
    REPLAYED = "replayed"
    KEYS = "no keys"


class SignatureError(ModelError):
    """What was published is not taken on account of its signature; the message begins with the fault."""

    step = "signature"

    def __init__(self, fault: SignatureFault, why: str) -> None:
        super().__init__(f"{fault.value}: {why}")
        self.fault = fault
