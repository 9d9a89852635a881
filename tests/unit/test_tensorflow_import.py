"""TensorFlow is imported without Keras, for which a graph has no use, and Keras still works after."""

import subprocess
import sys

_SESSION = "udfs.models.runtimes.tensorflow.session"
_IMPORT = f"from {_SESSION} import configured_tensorflow; tf = configured_tensorflow()"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_keras_is_not_loaded() -> None:
    others = "{'keras', 'keras.src', 'sklearn', 'pandas'}"
    assert run(f"import sys; {_IMPORT}; print(sorted({others} & sys.modules.keys()))") == "[]"


def test_keras_works_afterwards() -> None:
    uses = [
        "from tensorflow.keras.layers import Dense",
        "import keras",
        "print(keras.layers.Dense is Dense is tf.keras.layers.Dense)",
    ]
    assert run("; ".join([_IMPORT, *uses])) == "True"


def test_keras_stays_where_it_was_loaded_before() -> None:
    assert run(f"import keras, sys; {_IMPORT}; print(sys.modules['keras.src'] is keras.src)") == "True"
