"""Declaring features: sources of events, references, and the views over them.

A file of declarations is Python with `SOURCES`, `REFERENCES` and `VIEWS` (or one `DECLARATIONS`), or TOML of
the same shape. `load_declarations` reads either as the jobs do and says what is wrong with it. Durations are
text (`5 min`), times epoch milliseconds in UTC.
"""

from __future__ import annotations

from pathlib import Path

from schemas.codecs.factory import CodecSpec
from schemas.features import declarations as _declarations
from schemas.features.declarations import *
from schemas.features.declarations import Declarations
from schemas.features.rules import check, feature_types

__all__ = ["CodecSpec", "check", "feature_types", "load_declarations"]
__all__ += _declarations.__all__


def load_declarations(path: Path) -> Declarations:
    """The declarations in a `.toml` or `.py` file, checked: names, types, windows and SQL expressions.

    A Python file is executed: it is as trusted as a job. Needs the extra `millrace[features]`. Raises
    `FeatureError` with the file, and the line where Python or TOML name one.
    """
    from udfs.features.loading import load_declarations as load  # noqa: PLC0415

    return load(path)
