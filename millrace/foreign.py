"""What a file is that no job can serve as it is, and the command that makes a model of it that one can.

A kind is known by its content, not by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from millrace import export_commands as commands
from millrace.export_commands import Todo, says
from millrace.look import Look, look


@dataclass(frozen=True, slots=True)
class Kind:
    """`what` follows "is"; `todo` says what to do with the file at a path."""

    what: str
    todo: Todo
    fits: Callable[[Look], object]


def told(path: Path) -> str:
    """One sentence about a file or folder that is of no model type: what it is, and what to run."""
    try:
        seen = look(path)
    except OSError as e:
        return f"{path} cannot be read: {e.strerror or e}"
    kind = _kind(seen)
    what = kind.what.replace("INNER", seen.holds(*_MODELS))
    todo = kind.todo(seen.path).replace("INNER", _inner(seen))
    return f"{seen.path} is {what}: {todo}"


def recipe(path: Path) -> commands.runs | commands.converts | None:
    """The program that makes something of the file that is nearer to a model type; None where there is none.

    Raises `OSError` for what cannot be read.
    """
    todo = _kind(look(path)).todo
    return todo if isinstance(todo, commands.runs | commands.converts) else None


def _kind(seen: Look) -> Kind:
    kinds: tuple[Kind, ...]
    if seen.path.is_dir():
        kinds = FOLDERS
    elif seen.is_archive:
        kinds = ARCHIVES
    else:
        kinds = FILES if seen.pickled is None else _pickle(seen)
    return next(k for k in kinds if k.fits(seen))


_MODELS = ("saved_model.pb", ".onnx", ".pmml", ".keras", ".h5", ".ubj", ".json", ".txt", ".pkl", ".joblib")


def _inner(seen: Look) -> str:
    name = seen.holds(*_MODELS)
    inner = seen.path / name if seen.path.is_dir() else Path(name)
    return str(inner.parent if inner.name == "saved_model.pb" else inner)


FOLDERS = (
    Kind("an empty folder", commands.give, lambda s: not s.names),
    Kind(
        "a model of Spark ML",
        says("export it with `pyspark2pmml`, then `millrace publish model.pmml`"),
        lambda s: "metadata/part-00000" in s.names,
    ),
    Kind(
        "a Hugging Face model",
        says("run `optimum-cli export onnx --model PATH out`, then `millrace publish out/model.onnx`"),
        lambda s: s.holds("pytorch_model.bin", "model.safetensors"),
    ),
    Kind(
        "a TensorFlow checkpoint, weights without a graph",
        says("run `tf.saved_model.save(model, 'saved')`, then `millrace publish saved`"),
        lambda s: s.holds("checkpoint", ".ckpt.index") or _is_checkpoint(s),
    ),
    Kind("a folder with INNER in it", says("run `millrace check-model INNER`"), lambda s: s.holds(*_MODELS)),
    Kind("a folder without a saved_model.pb, so it is no SavedModel", commands.give, lambda _: True),
)

ARCHIVES = (
    Kind("an archive that is empty or damaged", commands.give, lambda s: not s.names),
    Kind(
        "a Keras model (.keras)",
        commands.from_keras,
        lambda s: {"config.json", "metadata.json"} <= set(s.names),
    ),
    Kind("a scikit-learn model in skops' format", commands.from_skops, lambda s: "schema.json" in s.names),
    Kind(
        "a TorchScript model",
        commands.from_torch,
        lambda s: s.holds("data.pkl") and any("/code/" in n for n in s.names),
    ),
    Kind(
        "a PyTorch file (a pickle), which is not opened here",
        commands.from_torch,
        lambda s: s.holds("data.pkl"),
    ),
    Kind(
        "a program of torch.export",
        commands.from_torch,
        lambda s: s.holds("serialized_exported_program.json", "archive_format", "models/model.json"),
    ),
    Kind("a MOJO of H2O", commands.again, lambda s: "model.ini" in s.names),
    Kind(
        "an archive with INNER in it",
        says("unpack it, then run `millrace check-model INNER`"),
        lambda s: s.holds(*_MODELS),
    ),
    Kind("an archive without a saved_model.pb, so it is no SavedModel", commands.give, lambda _: True),
)


def _is_checkpoint(s: Look) -> bool:
    """Whether a folder has variables, as `tf.train.Checkpoint.write` leaves them, and no SavedModel."""
    return any(".data-00000-of-" in n for n in s.names) and not s.holds("saved_model.pb")


def _text(*starts: bytes) -> Callable[[Look], bool]:
    return lambda s: b"\0" not in s.head and s.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(starts)


def _starts(*starts: bytes) -> Callable[[Look], bool]:
    return lambda s: s.head.startswith(starts)


def _json(word: bytes) -> Callable[[Look], bool]:
    return lambda s: _text(b"{")(s) and word in s.head


def _cut_onnx(s: Look) -> bool:
    """Whether the head is the beginning of an ONNX model: a version, who made it, and a graph."""
    head, at = s.head[:_ONNX_HEAD], 0
    if head[:1] != _IR_VERSION:
        return False
    while at + 1 < len(head):
        key, size = head[at], head[at + 1]
        at += 2
        if key == _GRAPH:
            while size >= _LONGER and at < len(head):  # the rest of its length
                size, at = head[at], at + 1
            return head[at : at + 1] == _NODE
        if key not in _BEFORE_GRAPH or size >= _LONGER:
            return False
        at += size if key & 7 == _OF_A_LENGTH else 0
    return False


_ONNX_HEAD = 4096
_IR_VERSION, _GRAPH, _NODE = b"\x08", 0x3A, b"\x0a"
_BEFORE_GRAPH = frozenset({0x08, 0x12, 0x1A, 0x22, 0x28, 0x32})  # who made it; fields 1 to 6, in order
_LONGER, _OF_A_LENGTH = 0x80, 2


def _safetensors(s: Look) -> bool:
    return s.head[8:9] == b"{" and int.from_bytes(s.head[:8], "little") < 1 << 27


FILES = (
    Kind("an empty file", commands.give, lambda s: not s.head.strip()),
    Kind(
        "weights of a Keras model without the model",
        says("save the model itself, as .keras"),
        lambda s: s.head.startswith(b"\x89HDF\r\n") and s.path.name.endswith(".weights.h5"),
    ),
    Kind("an HDF5 file, as which Keras 2 saved models (.h5)", commands.from_keras, _starts(b"\x89HDF\r\n")),
    Kind("a TensorFlow Lite model", commands.from_tflite, lambda s: s.head[4:8] == b"TFL3"),
    Kind(
        "a model in ONNX Runtime's own format (.ort)",
        says("publish the .onnx file that it was made from"),
        lambda s: s.head[4:8] == b"ORTM",
    ),
    Kind("a CatBoost model (.cbm)", commands.from_catboost, _starts(b"CBM1")),
    Kind(
        "a LightGBM model as `dump_model` describes it (JSON)",
        says("run `booster.save_model('model.txt')`, then `millrace check-model model.txt`"),
        _json(b'"num_tree_per_iteration"'),
    ),
    Kind("an ONNX model that is damaged, or cut short", says("copy it, or export it, once more"), _cut_onnx),
    Kind("an XGBoost model (JSON)", commands.from_xgboost, _json(b'"learner"')),
    Kind(
        "an XGBoost model (UBJSON)",
        commands.from_xgboost,
        lambda s: s.head.startswith(b"{") and b"\0" in s.head and b"learner" in s.head,
    ),
    Kind(
        "an XGBoost model in its old binary format",
        says(
            "load it with the XGBoost that wrote it, run "
            "`save_model('model.ubj')`, then `millrace check-model model.ubj`"
        ),
        _starts(b"binf"),
    ),
    Kind(
        "a dump of an XGBoost model for people to read",
        says("run `save_model('model.ubj')`, then `millrace check-model model.ubj`"),
        _text(b"booster["),
    ),
    Kind("a LightGBM model (text)", commands.from_lightgbm, _text(b"tree\n", b"tree\r\n")),
    Kind("weights of a network without the network (safetensors)", commands.from_torch, _safetensors),
    Kind(
        "a language model (GGUF)",
        says("serve it with llama.cpp; jobs serve smaller models"),
        _starts(b"GGUF"),
    ),
    Kind("an object of R", commands.from_r, _starts(b"RDX", b"X\n\0\0\0", b"A\n")),
    Kind("data and no model", commands.give, _starts(b"\x93NUMPY", b"PAR1")),
    Kind(
        "a pointer of Git LFS and not the file itself",
        says("run `git lfs pull`, then this again"),
        _text(b"version https://git-lfs"),
    ),
    Kind(
        "the architecture of a Keras model without its weights",
        says("save the whole model, as .keras"),
        _json(b'"class_name"'),
    ),
    Kind(
        "a model of OpenVINO",
        says("publish the .onnx file that it was made from"),
        lambda s: _text(b"<")(s) and b"<net" in s.head,
    ),
    Kind("XML and no PMML", commands.again, _text(b"<")),
    Kind("text and no model", commands.give, lambda s: b"\0" not in s.head and _is_utf8(s.head)),
    Kind(
        "nothing that is known here, or damaged",
        says(f"export {commands.TYPES}, or say what it is with --type"),
        lambda _: True,
    ),
)


def _is_utf8(head: bytes) -> bool:
    try:
        head[:4096].decode()
    except UnicodeDecodeError as e:
        return e.start >= min(len(head), 4096) - 3
    return True


PICKLES: dict[str, tuple[str, Todo]] = {
    "catboost": ("CatBoost", commands.pickled_catboost),
    "lightgbm": ("LightGBM", commands.pickled_lightgbm),
    "sklearn": ("scikit-learn", commands.from_sklearn),
    "torch": ("PyTorch", commands.from_torch),
    "xgboost": ("XGBoost", commands.pickled_xgboost),
}
"""By the library that a pickle names first."""


def _pickle(seen: Look) -> tuple[Kind, ...]:
    how = "a joblib file (a compressed pickle)" if seen.packed else "a pickle"
    libraries = (module.partition(".")[0] for module in seen.pickled or ())
    called, todo = next((PICKLES[name] for name in libraries if name in PICKLES), (None, commands.again))
    of = f" of {called}" if called else ""
    return (Kind(f"{how}{of}, which runs code when it is opened, so it is not opened here", todo, bool),)
