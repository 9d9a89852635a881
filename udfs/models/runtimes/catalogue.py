"""The model types, in one place: which module loads which, and how its files are known.

A type's number on the wire stands in `schemas/model.proto`; everything else that lists types (loading, the
executors of speculation, the command) reads them here.
"""

from __future__ import annotations

from collections.abc import Mapping

RUNTIMES: Mapping[str, str] = {
    "TENSORFLOWSAVED": "udfs.models.runtimes.tensorflow.saved_model",
    "TENSORFLOW": "udfs.models.runtimes.tensorflow.frozen_graph",
    "PMML": "udfs.models.runtimes.pmml.loading",
    "ONNX": "udfs.models.runtimes.onnx.runtime",
}
"""Model type -> the module with its `load`, in the order in which speculation makes executors for them."""

KNOWN_BY: Mapping[str, str] = {
    "TENSORFLOWSAVED": "udfs.models.runtimes.archive:holds_saved_model",
    "PMML": "udfs.models.runtimes.pmml.document:is_pmml",
    "ONNX": "udfs.models.runtimes.onnx.document:is_onnx",
    "TENSORFLOW": "udfs.models.runtimes.tensorflow.frozen_graph:is_graph",
}
"""Model type -> the function that says of a file whether it is such a model, in the order in which they are
asked: a frozen graph is the last, since it takes seconds to import what reads one."""

COMPOSITE = "GRAPH"
"""The type of a model made of others; it is loaded by `udfs.models.composite.loading`."""

MODEL_TYPES = (*RUNTIMES, COMPOSITE)
