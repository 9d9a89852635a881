"""Commands that turn models of other libraries into files that jobs serve, as `told` hands them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Todo = Callable[[Path], str]
"""What to run for the file at a path."""

TYPES = "an ONNX file, a PMML file, a TensorFlow SavedModel or a frozen graph"
_PUBLISH = ", then `millrace publish model.onnx`"
_FLOATS = "from onnxmltools.convert.common.data_types import FloatTensorType as T; "
_WRITE = "; open('model.onnx', 'wb').write(o.SerializeToString())"


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


SKLEARN = (
    "import joblib, numpy, skl2onnx; m = joblib.load('PATH'); x = numpy.zeros((1, m.n_features_in_), 'f'); "
    "o = skl2onnx.to_onnx(m, x)" + _WRITE
)

from_sklearn = runs(SKLEARN, _PUBLISH)
from_skops = runs(
    SKLEARN.replace("import joblib,", "import skops.io,").replace("joblib", "skops.io"), _PUBLISH
)
from_xgboost = runs(
    "import xgboost, onnxmltools; " + _FLOATS + "m = xgboost.Booster(model_file='PATH'); "
    "m.feature_names = None; "
    "o = onnxmltools.convert_xgboost(m, initial_types=[('x', T([None, m.num_features()]))])" + _WRITE,
    _PUBLISH,
)
from_lightgbm = runs(
    "import lightgbm, onnxmltools; " + _FLOATS + "m = lightgbm.Booster(model_file='PATH'); "
    "o = onnxmltools.convert_lightgbm(m, initial_types=[('x', T([None, m.num_feature()]))])" + _WRITE,
    _PUBLISH,
)
from_catboost = runs(
    "import catboost; catboost.CatBoost().load_model('PATH').save_model('model.onnx', format='onnx')",
    _PUBLISH,
)
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
    "import joblib; joblib.load('PATH').save_model('model.onnx', format='onnx')", _PUBLISH
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
