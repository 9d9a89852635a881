"""The model that a command is given: a file or folder here, or one of an MLflow registry."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from millrace.mlflow_models import SCHEME, Metrics, Mlflow, model_in
from millrace.mlflow_origin import Origin
from udfs.io.limits import Limits
from udfs.io.s3 import S3Options


@dataclass(frozen=True, slots=True)
class TakenModel:
    """Where it is here, and what is known of it. `source`: what it was taken from, for the registry."""

    path: Path
    name: str = ""
    version: int = 0
    description: str = ""
    metrics: Metrics = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    server: Mlflow | None = None
    scratch: Any = None

    @classmethod
    def of(cls, given: Path, url: str, s3: S3Options) -> TakenModel:
        """`url`: of an MLflow server, for `models:/`. What is fetched goes when this does.

        Raises `SourceError` where the server or its files are out of reach, `SettingsError` for what is no
        model there, and typer's for a path that is not here.
        """
        if not str(given).startswith(SCHEME):
            if not given.exists():
                raise typer.BadParameter(f"Path '{given}' does not exist.", param_hint="PATH")
            return cls(given)
        server = Mlflow(url)
        known = server.model(str(given))
        scratch = tempfile.TemporaryDirectory(prefix="millrace-")
        folder = server.download(known, Path(scratch.name) / "model", s3, Limits())
        return cls(
            model_in(folder),
            known.name,
            known.version,
            known.description,
            known.metrics,
            known.tags,
            str(Origin(known.name, known.version, url, known.run)),
            server,
            scratch,
        )

    def published(self, alias: str) -> None:
        """Write the alias back, where there is one. Raises `SourceError` where that is refused."""
        if alias and self.server is not None:
            self.server.set_alias(self.name, alias, self.version)
