"""The data scientist's side of the demo, a process of its own because TensorFlow lives in it.

It trains, publishes with the `millrace publish` command, and scores rows with what was published, for the
judge. Requests and answers are JSON lines on its standard input and output; it ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.feed import appear

if TYPE_CHECKING:
    from udfs.models.descriptor import Publication


class WorkbenchError(Exception):
    """A request failed; the message says why."""


class Workbench:
    """A client of the program `module`: one request at a time, `busy` until its answer was taken; `answer`
    never blocks."""

    def __init__(self, log: Path, env: Mapping[str, str], module: str = "demo.workbench") -> None:
        self._log = log
        with log.open("ab") as noise:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                env=dict(env),
                start_new_session=True,  # Ctrl-C is the demo's to handle
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._read = b""
        self.busy, self._asked = False, ""
        self.answers: dict[str, Any] = {}
        """The last one to each request."""

    def ask(self, request: str, **arguments: Any) -> None:
        self.busy, self._asked = True, request
        try:
            self._in.write(json.dumps([request, arguments]).encode() + b"\n")
            self._in.flush()
        except OSError:
            raise WorkbenchError(f"the workbench has ended: see {self._log}") from None

    def command(self, *arguments: str | Path) -> None:
        """Ask for a command of `millrace`."""
        self.ask("command", arguments=[str(one) for one in arguments])

    def answer(self) -> Any:
        """The answer if it is there, else None. Raises `WorkbenchError`."""
        self._read += self._out.read() or b""
        if b"\n" not in self._read:
            if self._process.poll() is not None:
                raise WorkbenchError(f"the workbench has ended with code {self._process.returncode}")
            return None
        self.busy = False
        line, self._read = self._read.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise WorkbenchError(answer["error"])
        self.answers[self._asked] = answer["done"]
        return answer["done"]

    def wait(self, seconds: float) -> Any:
        """The answer. Raises `WorkbenchError`, also when it has not come in time."""
        end = time.monotonic() + seconds
        while (answer := self.answer()) is None:
            if time.monotonic() > end:
                raise WorkbenchError(f"no answer in {seconds:g} s")
            time.sleep(0.05)
        return answer

    def close(self) -> None:
        """End it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()


def train_models(*, cache: str, seed: int) -> str:
    """The folder of trained models, from the cache where they are there."""
    from demo.train import folder_of, train  # noqa: PLC0415

    folder = folder_of(Path(cache), seed)
    if not folder.is_dir():
        train(folder, seed)
    return str(folder)


def warm_up() -> bool:
    """Import now what publishing needs."""
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    configured_tensorflow()
    return True


def command(*, arguments: list[str]) -> bool:
    """Run `millrace` with these arguments. Raises `WorkbenchError` where it refuses."""
    from millrace.cli import app  # noqa: PLC0415

    if app(arguments, standalone_mode=False):
        raise WorkbenchError(f"millrace {' '.join(arguments[:2])} refuses: see the log of the workbench")
    return True


def publish_damaged(*, arguments: list[str], models: str) -> bool:
    """Publish to the folder `models` with one byte changed, as after an accident on the way.

    The command itself would not let it pass.
    """
    from schemas.model_pb2 import ModelDescriptor  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as whole:
        command(arguments=[*arguments, "--to-folder", whole])
        [file] = Path(whole).glob("*.model")
        descriptor = ModelDescriptor.FromString(file.read_bytes())
    middle = len(descriptor.data) // 2
    changed = bytes([descriptor.data[middle] ^ 1])
    descriptor.data = descriptor.data[:middle] + changed + descriptor.data[middle + 1 :]
    appear(Path(models, file.name), descriptor.SerializeToString())
    return True


def answers_of(published: Publication, payloads: Sequence[bytes]) -> dict[str, Any]:
    """The `digest` of a published model, and its `scores` of each payload: loaded and fed by the code that
    jobs use. Raises `ModelError` where it cannot be loaded."""
    from schemas.codecs.factory import CodecSpec, make_codec  # noqa: PLC0415
    from udfs.models.loading import LoadPolicy, load_model  # noqa: PLC0415

    model = load_model(published, LoadPolicy(warm_up_batches=()))
    try:
        columns = model.predict(make_codec(CodecSpec()).decode(payloads, model.inputs).columns)
    finally:
        model.close()
    lists = {name: column.tolist() for name, column in columns.items()}
    scores = [{name: of[row] for name, of in lists.items()} for row in range(len(payloads))]
    return {"digest": model.stamp.digest, "scores": scores}


def predict(*, trained: str, models: str) -> list[dict[str, Any]]:
    """What each published model answers for each streamed row."""
    from demo.feed import encode_row  # noqa: PLC0415
    from demo.train import read_data  # noqa: PLC0415
    from schemas.errors import ModelError  # noqa: PLC0415
    from udfs.models.descriptor import SERVE, parse  # noqa: PLC0415

    data = {found.data_type: found for found in read_data(Path(trained))}
    answers = []
    for path in sorted(Path(models).glob("*.model")):
        published = parse(path.read_bytes())
        if published.operation != SERVE:
            continue
        streamed = data[published.data_type]
        payloads = [encode_row(streamed, row) + b"}" for row in range(len(streamed.rows))]
        try:
            found = answers_of(published, payloads)
        except ModelError:
            continue  # the job must have refused it too: what it stamps is found to have no prediction
        answers.append({"data_type": published.data_type, "version": published.version, **found})
    return answers


def answer_requests(known: Iterable[Callable[..., Any]]) -> None:
    """Answer requests by the functions of their names until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a command prints, and native code, goes to the log
    requests = {f.__name__: f for f in known}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"done": requests[name](**arguments)}
        except Exception as e:
            answer = {"error": f"{name}: {type(e).__name__}: {e}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    answer_requests((train_models, warm_up, command, publish_damaged, predict))
