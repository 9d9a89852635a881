"""Checked loading as jobs do it: by settings, with one fork server a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import ModelError, ProcessEndedError
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import LoadPolicy, Place, load_model
from udfs.models.sandbox.isolated import IsolatedPlace
from udfs.models.sandbox.limits import SandboxLimits
from udfs.models.sandbox.places import CheckedPlace
from udfs.models.sandbox.processes import ForkServer, ForkSpec, acquire, release


@dataclass(frozen=True, slots=True)
class Isolation:
    """Where models run. `thread`: in the process that scores, after a check in another, unless `check` is
    off. `process`: each in a process of its own for good, which is started again up to `restarts` times.

    `python`: the program that starts these processes; by default the one that runs this code.
    """

    mode: Literal["thread", "process"] = "thread"
    check: bool = True
    restarts: int = 3
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    python: str | None = None


class SandboxedLoader:
    """Loads models by the policy of their data type. `call_seconds` bounds calls of isolated models.
    `restarted`: this run has failed before, by what served as likely as by anything else. For any thread;
    made, it starts the processes that it needs in the background."""

    def __init__(
        self,
        policy: Callable[[str], LoadPolicy],
        isolation: Isolation,
        call_seconds: float,
        restarted: bool = False,
    ) -> None:
        self._policy, self._isolation = policy, isolation
        self._server: ForkServer | None = None
        self._checked: Place | None = None
        self._again: Place | None = None
        self._proven: set[str] = set()
        if isolation.check or isolation.mode == "process":
            spec = ForkSpec(isolation.limits, python=isolation.python)
            self._server = server = acquire(spec)
            if isolation.mode == "process":
                self._checked = self._again = IsolatedPlace(server, call_seconds, isolation.restarts)
            else:
                self._checked = CheckedPlace(server)
                self._again = self._checked if restarted else None

    def load(self, publication: Publication) -> LoadedModel:
        """A model that was published. Raises `ModelError`."""
        return load_model(publication, self._policy(publication.data_type), place=self._checked)

    def load_again(self, publication: Publication) -> LoadedModel:
        """A model that served before: its check was passed then, and is made again only where the run has
        failed since, and once. What a check on a busy machine does not come to an end with, or with other
        bounds now, is no reason to go on without a model that has served: it is loaded without one. Raises
        `ModelError`; `ProcessEndedError` where the model ended the process."""
        policy = self._policy(publication.data_type)
        if self._again is None or self._isolation.mode == "process":
            return load_model(publication, policy, place=self._again)
        if publication.sha256 in self._proven:
            return load_model(publication, policy, place=None)
        try:
            model = load_model(publication, policy, place=self._again)
        except ProcessEndedError:
            raise
        except ModelError:
            model = load_model(publication, policy, place=None)
        self._proven.add(publication.sha256)
        return model

    def close(self) -> None:
        """End the processes, where nobody else in this process uses them. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            release(server)
