"""The steps by which a model comes to be loaded, for one that is alone and for each node of a graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from schemas.errors import LoadError, ModelError, PredictError, SmokeTestError
from schemas.extras import what_to_install
from udfs.io.limits import Limits
from udfs.io.s3 import S3Options
from udfs.models.descriptor import Publication
from udfs.models.digest import Digest
from udfs.models.fetch import bring, check_digest
from udfs.models.loaded_model import LoadReport
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.warm_up import Budget

Load = Callable[[Artifact, WantedSignature], Runtime]


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """What loading may use and must prove.

    `roots`: where locations may point. `scratch`: the parent of the private folders, by default the
    system's. `fields`: the data type's record fields in order. `warm_up_batches`: batch sizes in records.
    `warm_up`: what calls at these sizes may take. `deadline_ms`: after which a runtime that can ends a call
    itself; 0 for never. `training`: TensorFlow's operators of training and gradients are taken.
    `pypmml`: PMML that only pypmml can score is taken where its own rows prove it. `verification`: PMML
    without rows with results of its own is refused. `second_opinion`: notes say where pypmml differs of PMML.
    """

    roots: tuple[str, ...] = ()
    scratch: str | None = None
    max_bytes: int = Limits().max_bytes
    max_files: int = Limits().max_files
    fields: tuple[str, ...] = ()
    warm_up_batches: tuple[int, ...] = (1, 64, 1024)
    s3: S3Options = field(default_factory=S3Options)
    warm_up: Budget = field(default_factory=Budget)
    deadline_ms: int = 0
    training: bool = False
    pypmml: bool = False
    verification: bool = False
    second_opinion: bool = False


@dataclass(frozen=True, slots=True)
class LoadSteps:
    """The steps under one policy, timed in one report. `loader` finds the `load` of a model type; `begun` is
    told of each step before it."""

    policy: LoadPolicy
    loader: Callable[[str], Load]
    report: LoadReport = field(default_factory=LoadReport)
    begun: Callable[[str], None] = lambda step: None

    def fetch(self, publication: Publication, scratch: Path, taken: int = 0) -> tuple[Artifact, Digest]:
        """The content, with the digest of what is here. `taken`: bytes of the allowance that are used up."""
        with self.step("fetch"):
            limits = Limits(self.policy.max_bytes - taken, self.policy.max_files)
            artifact = bring(publication, self.policy.roots, scratch, limits, self.policy.s3)
        with self.step("digest"):
            return artifact, check_digest(publication, artifact)

    def load(self, model_type: str, artifact: Artifact, wanted: WantedSignature) -> Runtime:
        """The runtime, which has checked what the model may do."""
        policy = self.policy
        wanted = replace(
            wanted, deadline_ms=policy.deadline_ms, training=policy.training, pypmml=policy.pypmml,
            verification=policy.verification, second_opinion=policy.second_opinion,
        )  # fmt: skip
        runtime = self.loader(model_type)(artifact, wanted)
        self.report.notes += getattr(runtime, "notes", ())
        return runtime

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and turn what it raises into the `ModelError` that names the step."""
        seconds = self.report.seconds
        started = time.perf_counter()
        self.begun(name)
        try:
            yield
        except PredictError as e:
            raise _named(SmokeTestError(str(e)), name) from e
        except SmokeTestError as e:
            raise _named(e, name) from e.__cause__
        except ModelError:
            raise
        except Exception as e:
            raise _named(LoadError(what_to_install(e) or f"{type(e).__name__}: {e}"), name) from e
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def _named(error: ModelError, step: str) -> ModelError:
    error.step = step
    return error
