"""ONNX Runtime as an operator uses it: on the CPU, in the calling thread, within a bound of memory.

All sessions of a process share one arena, so that what their intermediate results take is bounded: an
operator that asks for more fails, where the process would be killed. Weights lie outside it, and go with
their session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock, Timer
from typing import Any

from numpy.typing import NDArray

from schemas.errors import LoadError, PredictError
from udfs.models.runtimes.narrowing import bfloat16_bits
from udfs.models.runtimes.onnx.document import BFLOAT16
from udfs.models.runtimes.onnx.guards import GUARD

ARENA_BYTES = 2 << 30
_EXTEND_AS_REQUESTED = 1
_FATAL = 4
_FRAME = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'[^']*' Status Message: ")
_GUARDED = re.compile(rf"Name:'[^']*{GUARD}([^']*)'")
_SOURCE = re.compile(r"\S*\.(cc|h):\d+ ")
_OPSET = re.compile(r"Opset (\d+) is under development.*? support for domain (\S+) is till opset (\d+)")
_VERSION = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\)")
_NAMESPACE = "onnxruntime::"
_LONGEST = 2000
_STARTING = Lock()


def configured_onnxruntime() -> Any:
    """The `onnxruntime` module, quiet and with its arena."""
    with _STARTING:
        return _onnxruntime()


@cache
def _onnxruntime() -> Any:
    import onnxruntime as ort  # noqa: PLC0415

    ort.set_default_logger_severity(_FATAL)
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    bound = {"max_mem": ARENA_BYTES, "arena_extend_strategy": _EXTEND_AS_REQUESTED}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(bound))
    return ort


class OverdueError(PredictError):
    """A call was ended because it took too long."""


class Session:
    """A model that ONNX Runtime has taken. Raises `LoadError` where it does not.

    `max_seconds`: a call that takes longer is ended; None for models that cannot go on for ever, whose calls
    need no clock beside them.
    """

    def __init__(self, content: bytes, max_seconds: float | None) -> None:
        ort = configured_onnxruntime()
        self._ort, self._max_seconds = ort, max_seconds
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL
        for name, value in (
            (
                "session.load_model_format",
                "ONNX",
            ),  # bytes could be its own format too, which is not looked into
            ("session.use_env_allocators", "1"),
            ("session.use_device_allocator_for_initializers", "1"),
        ):
            options.add_session_config_entry(name, value)
        try:
            # without fallback: it tries the same again, and says so on standard output
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        # pybind11 exceptions of its own, one a status code, and RuntimeErrors
        except Exception as e:
            raise LoadError(f"ONNX Runtime does not take the model: {reason(e)}") from e
        self._bfloat16 = [i.name for i in self._session.get_inputs() if i.type == "tensor(bfloat16)"]
        self._plain = ort.RunOptions()
        self._plain.log_severity_level = _FATAL

    def outputs(self) -> Mapping[str, tuple[str, list[int | str | None]]]:
        """Name -> element type such as `tensor(float)`, and the declared shape with the batch dimension."""
        return {o.name: (o.type, o.shape) for o in self._session.get_outputs()}

    def run(self, fetches: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        """Raises `PredictError`. Inputs of bfloat16 are given as float32."""
        try:
            feeds = self._as_taken(feeds) if self._bfloat16 else feeds
            if self._max_seconds is None:
                return self._session.run(fetches, feeds, self._plain)
            with self._ended_after(self._max_seconds) as options:
                return self._session.run(fetches, feeds, options)
        except PredictError:
            raise
        except Exception as e:
            raise PredictError(f"the model failed on the micro-batch: {reason(e)}") from e

    def _as_taken(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        value = self._ort.OrtValue.ortvalue_from_numpy_with_onnx_type
        made = {n: value(bfloat16_bits(n, feeds[n]), BFLOAT16) for n in self._bfloat16}
        return {**feeds, **made}

    @contextmanager
    def _ended_after(self, seconds: float) -> Iterator[Any]:
        options = self._ort.RunOptions()
        options.log_severity_level = _FATAL
        timer = Timer(seconds, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            yield options
        except Exception:
            if options.terminate:
                raise OverdueError(f"a loop in the model had not ended after {seconds:g} s") from None
            raise
        finally:
            timer.cancel()


def reason(error: Exception) -> str:
    """The first line of an error, without ONNX Runtime's frame of status codes and source files."""
    # cut first: an operator's name, or a record's text in it, would be looked through from each character on
    text = (str(error)[:_LONGEST].strip() or type(error).__name__).splitlines()[0]
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    if too_new := _OPSET.search(text):
        opset, domain, known = too_new.groups()
        return (
            f"it is of opset {opset} of {domain}, and the ONNX Runtime here knows those up to {known}: "
            f"export it with opset {known} or below, or install a newer onnxruntime"
        )
    if too_new := _VERSION.search(text):
        return (
            f"it is of ONNX's IR version {too_new[1]}, and the ONNX Runtime here knows those up to "
            f"{too_new[2]}: export it with an older onnx, or install a newer onnxruntime"
        )
    if missing := _NO_KERNEL.search(text):
        return (
            f"it has no operator {missing[1]} for numbers of this type on a processor: export the model with "
            "float32 (of PyTorch: model.float())"
        )
    if held := _GUARDED.search(text):
        return f"operator {held[1]}"[:300]
    text = _FRAME.sub(r"operator \1: ", text)
    if "BFCArena" in text:
        text = (
            text.partition(": ")[0] + f": it takes more than the {ARENA_BYTES >> 30} GB that all models share"
        )
    if place := _SOURCE.search(text):
        text = text[: place.start()] + _without_signature(text[place.end() :])
    return _SOURCE.sub("", text)[:300]


def _without_signature(text: str) -> str:
    """`text` without the C++ function that it may begin with: its name and, in brackets, its arguments."""
    opening = text.find("(")
    if _NAMESPACE not in text[: max(opening, 0)]:
        return text
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[at + 1 :].removeprefix(" const").lstrip()
    return text
