"""Plans of an ensemble: which candidates are asked about a record, until when, and which policy decides.

A plan is built here or read from JSON, and published with `millrace plan`. Policies follow each other by
`otherwise`: the next is asked about the records that the one before could not decide.
"""

from __future__ import annotations

from schemas.plans import plan as _plan
from schemas.plans.plan import *

__all__ = _plan.__all__
