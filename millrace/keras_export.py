"""A Keras file as a SavedModel: `python -m millrace.keras_export FILE FOLDER`, a process with limits.

Keras reads the file in safe mode, in which what holds Python code is refused. For the rest it takes all the
memory and time that the file asks for.
"""

from __future__ import annotations

import os
import sys

from udfs.models.runtimes.tensorflow.session import configured_tensorflow, first_line
from udfs.models.sandbox.limits import SandboxLimits, limit_this_process

LIMITS = SandboxLimits(memory_bytes=8 << 30, cpu_seconds=600)
"""In force once Keras is loaded."""


def main(path: str, folder: str) -> int:
    """Export; where that fails, say why in the last line, and give 1."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    configured_tensorflow()
    import keras  # noqa: PLC0415

    limit_this_process(LIMITS)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        model.export(folder, verbose=False)
    # Keras raises whatever the parts of the model raise
    except Exception as e:
        sys.stderr.write(f"\n{why(e)}\n")
        return 1
    return 0


def why(error: Exception) -> str:
    """The line of an error of Keras that says what was wrong: it often puts it behind what one should do."""
    lines = [line.strip() for line in str(error).rpartition("Exception encountered:")[2].splitlines()]
    said = [line for line in lines if line] or [type(error).__name__]
    return first_line(ValueError(" ".join(said[: 2 if said[0].endswith(":") else 1])))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
