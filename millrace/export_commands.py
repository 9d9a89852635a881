"""Commands that turn models of other libraries into files that jobs serve, as `told` hands them out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Todo = Callable[[Path], str]
"""What to run for the file at a path."""

TYPES = "an ONNX file, a PMML file, a TensorFlow SavedModel or a frozen graph"
_PUBLISH = ", then `millrace publish model.onnx`"


def says(text: str) -> Todo:
    """What to do, with the file's path in the place of PATH."""
    return lambda path: text.replace("PATH", str(path))


@dataclass(frozen=True, slots=True)
class runs:  # noqa: N801  (read as a sentence, like `says`)
    """A Python program on one line, where PATH stands for the file, and what to do then."""

    code: str
    then: str

    def __call__(self, path: Path) -> str:
        """What to run, with the file's path."""
        return f'run `python -c "{self.code}"`{self.then}'.replace("PATH", str(path))

    def arguments(self, path: Path) -> list[str]:
        """Of Python, to run the program."""
        return ["-c", "import sys; " + self.code.replace("'PATH'", "sys.argv[1]"), str(path)]


@dataclass(frozen=True, slots=True)
class converts:  # noqa: N801  (read as a sentence, like `says`)
    """`millrace.to_onnx` with the kind of a model, which compares what it makes with the library."""

    kind: str

    def __call__(self, path: Path) -> str:
        """What to run, with the file's path."""
        return f"run `python -m millrace.to_onnx {self.kind} {shlex.quote(str(path))}`{_PUBLISH}"

    def arguments(self, path: Path) -> list[str]:
        """Of Python, to run the program."""
        return ["-P", "-m", "millrace.to_onnx", self.kind, str(path)]


from_sklearn = converts("sklearn")
from_skops = converts("skops")
from_xgboost = converts("xgboost")
from_lightgbm = converts("lightgbm")
from_catboost = converts("catboost")
from_keras = runs(
    "import keras; keras.saving.load_model('PATH').export('saved')", ", then `millrace publish saved`"
)
from_tflite = says("run `python -m tf2onnx.convert --tflite PATH --output model.onnx`" + _PUBLISH)
from_torch = says(
    "in the Python that made it run `torch.onnx.export(model.eval(), (x,), 'model.onnx', "
    "input_names=['x'], dynamic_axes={'x': {0: 'n'}})`" + _PUBLISH
)
from_r = says("export it in R with `r2pmml`, then `millrace publish model.pmml`")
pickled_catboost = runs(
    "import joblib; joblib.load('PATH').save_model('model.cbm')", ", then `millrace check-model model.cbm`"
)
pickled_lightgbm = runs(
    "import joblib; m = joblib.load('PATH'); getattr(m, 'booster_', m).save_model('model.txt')",
    ", then `millrace check-model model.txt`",
)
pickled_xgboost = runs(
    "import joblib; joblib.load('PATH').save_model('model.ubj')", ", then `millrace check-model model.ubj`"
)
again = says(f"export {TYPES}")
give = says(f"give {TYPES}")
