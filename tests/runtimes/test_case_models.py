"""TensorFlow models that users have: each scores as in TensorFlow, or is refused for what is wrong with it.

Their own program makes them, of `shared/cases/models` beside the checkout, and says what is right. All of it
takes two minutes of processor time.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace.checking import described
from millrace.values import parse_fields, parse_inputs, parse_outputs, with_constants
from schemas.codecs.field_reading import FieldReading, Form
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import ModelError, SmokeTestError
from schemas.micro_batch import MicroBatch
from udfs.models.loaded_model import LoadedModel
from udfs.serving.scoring import score

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "models"
KINDS = {
    "files": ["file_"],
    "frozen graphs": ["fz_"],
    "Keras": ["k3_"],
    "folders and archives": ["layout_"],
    "types": ["tf_input_", "tf_output_", "tf_types", "tf_bytes"],
    "functions": ["tf_"],
    "TensorFlow 1": ["v1_"],
}
"""Kind -> how the names of its cases begin, the first that fits counting."""
SLOW = {"k3_mobilenet"}
"""Left out: to make and load it takes a tenth of the processor time of all others."""
NO_BATCH, PYTHON, COMPANY = (
    "takes one number of records only",
    "calls a Python function",
    "gets? (an)?other answers?",
)
REFUSED = {
    "file_ckpt": "weights without a graph",
    "file_weights_h5": "without the model",
    "fz_not_frozen": "freeze it",
    "fz_bn_training": COMPANY,
    "fz_gradients_leftover": COMPANY,
    "k3_simple_rnn_stateful": NO_BATCH,
    "tf_batch_dependent": COMPANY,
    "tf_bn_training_true": COMPANY,
    "tf_counter": COMPANY,
    "tf_gradient_inside": "belongs to training",
    "tf_input_uint64": "uint64, which no record field holds",
    "tf_numpy_function": PYTHON,
    "tf_py_function": PYTHON,
    "tf_random_dropout": COMPANY,
    "tf_running_mean": COMPANY,
    "tf_variable_length_output": "export it with a fixed one",
}
PICTURE = b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP438AAAAQBAYDFKhhdAAAAAElFTkSuQmCC"
"""A PNG of one pixel."""
FOUR = {"field": ["f0,f1,f2,f3"]}
SAID: Mapping[str, Mapping[str, Any]] = {
    "file_h5": FOUR,
    "file_keras": FOUR,
    "file_saved_model_pb": FOUR,
    "file_tflite": FOUR,
    "fz_is_training": {"constant": ["is_training=false"]},
    "fz_keep_prob": {"constant": ["keep_prob=1.0"]},
    "fz_unknown_rank_rbf": {"input": ["x:float32[1]"]},
    "k3_bigru_unknown_length": {"input": ["seq:float32[7 x 3]"]},
    "tf_image_bytes": {
        "readings": (FieldReading("img", ("img",), Form.BASE64),),
        "records": [b'{"img":"%s"}' % PICTURE],
    },
    "tf_nan_is_missing": {"readings": (FieldReading("x", ("x",), missing=True),)},
    "tf_nested_field": {"readings": (FieldReading("user.age", ("user", "age")),)},
    "tf_threshold_param": {"constant": ["threshold=0.5"]},
}
"""What the refusal of the model, or of its records, asks for; `records` in the place of the program's."""


LOST = "\ufffd"
"""In a text of the program for bytes that are none."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, made by a process of its own: the program sets up TensorFlow for itself."""
    if not CASES.is_dir():
        pytest.skip("no shared/cases beside the checkout")
    folder = tmp_path_factory.mktemp("cases")
    program = Path(shutil.copy(CASES / "make_tensorflow_models.py", folder))
    listing = "import make_tensorflow_models as m; print(*m.CASES)"
    names = _output([sys.executable, "-c", listing], folder).split()
    _output([sys.executable, program.name, *(set(names) - SLOW)], folder)
    return folder


def _output(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=900).stdout


def _kind(name: str) -> str:
    return next(kind for kind, starts in KINDS.items() if name.startswith(tuple(starts)))


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_users_have_score_as_tensorflow_does(kind: str, made: Path, tmp_path: Path) -> None:
    cases = [json.loads(path.read_text()) for path in sorted(made.glob("made/*/case.json"))]
    found = {case["name"]: case for case in cases if _kind(case["name"]) == kind}
    assert found
    wrong = {name: said for name, case in found.items() if (said := _wrong(made, case, tmp_path / name))}
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())


def _wrong(made: Path, case: Mapping[str, Any], scratch: Path) -> str:
    """What is not as it should be with a case; nothing where all is."""
    name, folder = case["name"], made / "made" / case["name"]
    said = SAID.get(name, {})
    payloads = said.get("records") or (folder / "records.jsonl").read_bytes().splitlines()
    try:
        model = _loaded(made / case["path"], {**case["args"], **said}, payloads, scratch)
    except ModelError as e:
        return "" if name in REFUSED and re.search(REFUSED[name], str(e)) else f"refused: {e}"
    try:
        if name in REFUSED:
            return "served"
        alone = [answer for payload in payloads[:3] for answer in _scores(model, [payload])]
        expected = json.loads((folder / "expected.json").read_text()) or {}
        outputs = dict(part.partition("=")[::2] for part in case["args"].get("output", ()))
        wanted = {outputs.get(k) or k: v for k, v in expected.items() if not outputs or k in outputs}
        return _compared(_scores(model, payloads), wanted) or _compared(alone, wanted)
    finally:
        model.close()


def _loaded(path: Path, args: Mapping[str, Any], payloads: list[bytes], scratch: Path) -> LoadedModel:
    """The model as a job loads what is published, some records given where it does not take made-up ones."""
    said: dict[str, Any] = {
        "data_type": "t",
        "fields": parse_fields(args.get("field")),
        "inputs": with_constants(parse_inputs(args.get("input")), args.get("constant")),
        "outputs": parse_outputs(args.get("output")),
        "signature": args.get("signature", ""),
        "readings": args.get("readings", ()),
    }
    scratch.mkdir()
    made = described(path, scratch, **said)
    try:
        return made.load()
    except SmokeTestError as e:
        if "--smoke" not in str(e):
            raise
    again = scratch / "again"
    again.mkdir()
    return described(path, again, smoke_rows=tuple(payloads[:3]), **said).load()


def _scores(model: LoadedModel, payloads: list[bytes]) -> list[Any]:
    """Of each record its scores, or the reason why it has none."""
    count = len(payloads)
    batch = MicroBatch("t", "t", payloads, [0] * count, list(range(count)), [0] * count)
    done = score(batch, model, JsonCodec(), raw_json=True)
    assert not done.dead, done.dead[0]
    told = [json.loads(line)["millrace"] for line in done.lines]
    return [one["scores"] if one["outcome"] == "scored" else one["reason"] for one in told]


def _compared(answers: list[Any], expected: Mapping[str, list[Any]]) -> str:
    for row, answer in enumerate(answers):
        right = {
            name: column[row] if isinstance(column, list) else column  # the same for all
            for name, column in expected.items()
            if column is not None
        }
        if isinstance(answer, str):
            if "not finite" not in answer or all(map(_finite, right.values())):
                return f"record {row}: {answer}"
            continue
        for name, value in right.items():
            if name not in answer or not _same(answer[name], value):
                return f"record {row}, {name}: {answer.get(name)!r:.200}, where {value!r:.200} is right"
    return ""


def _finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _same(got: Any, right: Any) -> bool:
    """Numbers to 1e-6; an output of one value a record may be a list of it to TensorFlow."""
    got, right = np.ravel(np.array(got, object)), np.ravel(np.array(right, object))
    if got.size != right.size:
        return False
    if any(isinstance(value, str) for value in right):
        if any(LOST in value for value in right):
            return True
        return bool((got == right).all())
    return bool(np.allclose(got.astype(float), right.astype(float), rtol=1e-6, atol=1e-6))
