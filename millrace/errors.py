"""The errors that Millrace raises: all are a `MillraceError`, and those about one model a `ModelError`.

A message says what was wrong, with what, and what to do. `ModelError.step` names the step of loading that
failed.
"""

from __future__ import annotations

from schemas import errors as _errors
from schemas.errors import *

__all__ = _errors.__all__
