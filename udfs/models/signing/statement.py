"""What is signed: an in-toto statement about the files of a model, and what is to be done with it.

The files stand where the OpenSSF model signing specification 1.0 wants them (sections 5 and 6), so that other
programs verify them; the publication stands in a part of the predicate of our own, which they pass over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec

from udfs.models.signing.faults import SignatureError, SignatureFault

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
FORMAT = 1
SINGLE = "."
"""The name of the only file of a model that is a file. The specification says its base name; the package
`model-signing` writes and reads this."""


class Resource(msgspec.Struct, frozen=True):
    """A file by its digest, SHA-256 in lower-case hex."""

    name: str
    digest: str
    algorithm: str = "sha256"


class Covered(msgspec.Struct, frozen=True):
    """What a descriptor asks for, as far as a signature covers it.

    `operation` is the name in the protocol. `digest` and `size` are the artifact's, or of a plan; `plan` is
    its text's SHA-256, empty for a model. `descriptor`: SHA-256 of the descriptor without its content,
    location and signature, so that nothing else in it can be changed either.
    """

    data_type: str
    name: str
    version: int
    operation: str
    force: bool
    plan: str
    digest: str
    size: int
    descriptor: str


_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""JSON has integers of any length, and clocks and state do not."""


class Terms(msgspec.Struct, frozen=True):
    """`publication`: what for. `audience`: the jobs that it is for. `issued`, `expires`: epoch milliseconds.
    `counter`: grows with each signature by one key for one name of a data type."""

    publication: Covered
    audience: tuple[str, ...]
    issued: _Number
    expires: _Number
    counter: _Number
    format: int = FORMAT


class Serialization(msgspec.Struct, frozen=True):
    method: str = "files"
    hash_type: str = "sha256"
    allow_symlinks: bool = False
    ignore_paths: tuple[str, ...] = ()


class Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class Predicate(msgspec.Struct, frozen=True, omit_defaults=False):
    serialization: Serialization
    resources: tuple[Resource, ...]
    millrace: Terms | None = None


class Statement(msgspec.Struct, frozen=True, rename={"kind": "_type", "predicate_type": "predicateType"}):
    kind: str
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: Predicate


def statement_of(name: str, resources: Sequence[Resource], terms: Terms | None) -> bytes:
    """As JSON. `name` is for people."""
    ordered = tuple(sorted(resources, key=lambda r: r.name))
    subject = Subject(name or "model", {"sha256": root_digest(ordered)})
    predicate = Predicate(Serialization(), ordered, terms)
    return msgspec.json.encode(Statement(STATEMENT, (subject,), PREDICATE, predicate))


def read_statement(payload: bytes) -> Statement:
    """A payload whose signature has been verified. Raises `SignatureError`."""
    try:
        statement = _STATEMENT_DECODER.decode(payload)
    except (ValueError, RecursionError) as e:  # also of text that is no UTF-8
        raise _unreadable(f"what is signed is no statement about a model: {e}") from None
    if (statement.kind, statement.predicate_type) != (STATEMENT, PREDICATE):
        raise _unreadable(f"what is signed is a {statement.predicate_type[:80]!r}; {PREDICATE} is read")
    predicate = statement.predicate
    if predicate.serialization.method != "files" or any(r.algorithm != "sha256" for r in predicate.resources):
        raise _unreadable("the files are signed in shards, or not by sha256; sign whole files by sha256")
    subjects = [subject.digest.get("sha256") for subject in statement.subject]
    if not predicate.resources or subjects != [root_digest(predicate.resources)]:
        raise _unreadable("the subject of the statement is not the digest of its files")
    if predicate.millrace is not None and predicate.millrace.format != FORMAT:
        raise _unreadable(f"the statement has the format {predicate.millrace.format}; {FORMAT} is read")
    return statement


def root_digest(resources: Sequence[Resource]) -> str:
    """SHA-256 over the files' digests in their order (section 6.5.1). Raises `SignatureError` where one is
    no hex."""
    whole = hashlib.sha256()
    try:
        for resource in resources:
            whole.update(bytes.fromhex(resource.digest))
    except ValueError:
        raise _unreadable("a file's digest is not in hex") from None
    return whole.hexdigest()


def _unreadable(why: str) -> SignatureError:
    return SignatureError(SignatureFault.UNREADABLE, why)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_STATEMENT_DECODER = msgspec.json.Decoder(Statement)
