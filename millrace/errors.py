"""The errors that Millrace raises: all are a `MillraceError`, and those about one model a `ModelError`.

A message says what was wrong, with what, and what to do. `ModelError.step` names the step of loading that
failed.
"""

from __future__ import annotations

from schemas.errors import (
    ArchiveError,
    CodecError,
    CodeError,
    DescriptorError,
    DigestError,
    FeatureError,
    FetchError,
    GraphError,
    InputsError,
    LoadError,
    LocationError,
    MillraceError,
    ModelError,
    PlanError,
    PredictError,
    RegistryError,
    SettingsError,
    SmokeTestError,
    SourceError,
    StaleVersionError,
    StoreError,
    ThreadModeError,
    UnprovenModelError,
    UnsafeModelError,
)

__all__ = [
    "ArchiveError",
    "CodeError",
    "CodecError",
    "DescriptorError",
    "DigestError",
    "FeatureError",
    "FetchError",
    "GraphError",
    "InputsError",
    "LoadError",
    "LocationError",
    "MillraceError",
    "ModelError",
    "PlanError",
    "PredictError",
    "RegistryError",
    "SettingsError",
    "SmokeTestError",
    "SourceError",
    "StaleVersionError",
    "StoreError",
    "ThreadModeError",
    "UnprovenModelError",
    "UnsafeModelError",
]
