"""How much one data type, and one job, may ask of who loads and serves its models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.errors import QuotaError
from udfs.models.model_log import LogEntry


@dataclass(frozen=True, slots=True)
class Quotas:
    """`types`: data types that settings name; None: no bound on types. `new_types`: how many others models
    may be published for, at each instance. `candidates`: names that are published, a data type.
    `pending` and `pending_bytes`: descriptors that wait to be loaded, a data type.

    `attempts`: loads of a version that may come to no outcome before it is set aside. `unresponsive`: calls
    of a model that may be given up before it is. `call_seconds`: when a call is given up. `patience_ms`: how
    long one is waited for before its data type waits alone.
    `version_jump`: by how much a version may be above the newest of its name; None: by any.
    """

    types: frozenset[str] | None = None
    new_types: int = 0
    candidates: int = 32
    pending: int = 16
    pending_bytes: int = 64 << 20
    attempts: int = 2
    unresponsive: int = 2
    call_seconds: float = 5.0
    patience_ms: float = 50.0
    version_jump: int | None = None

    def check_type(self, data_type: str, taken: Iterable[str] = ()) -> None:
        """`taken`: the data types that have a model, or one that waits. Raises `QuotaError`."""
        if self.types is None or data_type in self.types:
            return
        if not self.new_types:
            raise QuotaError(
                f"no setting names the data type {data_type!r}; add it to data_types, or allow new types"
            )
        known = {*taken}
        if data_type not in known and len(known - self.types) >= self.new_types:
            raise QuotaError(
                f"no setting names the data type {data_type!r}, and there are models of {self.new_types} "
                "such types, which is the most; add it to data_types, or raise models.most_new_types"
            )

    def check_pending(self, pending: Sequence[LogEntry], descriptor: bytes) -> None:
        """Whether one more may wait. Raises `QuotaError`."""
        if len(pending) >= self.pending:
            raise QuotaError(
                f"{len(pending)} publications wait to be loaded, which is the most; publish it again later"
            )
        size = sum(len(entry.descriptor) for entry in pending) + len(descriptor)
        if size > self.pending_bytes:
            raise QuotaError(
                f"the publications that wait to be loaded would have {size} bytes, and {self.pending_bytes} "
                "are the most; publish it again later, or by its location"
            )

    def check_candidates(self, names: int) -> None:
        """Whether there may be one more name. Raises `QuotaError`."""
        if names >= self.candidates:
            raise QuotaError(f"there are {names} candidates, which is the most; unpublish one first")
