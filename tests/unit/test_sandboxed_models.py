"""Models that are checked or kept in processes of their own: good ones, and those that kill, hang or grow."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from devservices.process import wait_until
from operators.flink_internals import restarted
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import (
    InconclusiveError,
    InputsError,
    LoadError,
    ModelError,
    ProcessEndedError,
    QuotaError,
    UnresponsiveError,
)
from tests import models
from tests.flink_fakes import KeyedContext
from tests.tensorflow_kinds import KINDS
from udfs.models.descriptor import Publication, build, parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.runtimes.tensorflow.session import configured_tensorflow
from udfs.models.sandbox import loader
from udfs.models.sandbox.columns import MalformedError, SharedBytes, TooSmallError, read, write
from udfs.models.sandbox.isolated import IsolatedPlace
from udfs.models.sandbox.limits import SandboxLimits
from udfs.models.sandbox.places import CheckedPlace
from udfs.models.sandbox.processes import Child, ForkServer, ForkSpec

HOSTILE = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "hostile"
WAIT = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    limits = SandboxLimits(memory_bytes=2 << 30, loaded_bytes=400 << 20, cpu_seconds=20, deadline_seconds=20)
    made = ForkServer(ForkSpec(limits))
    yield made
    made.close()


@pytest.fixture
def policy(tmp_path: Path) -> LoadPolicy:
    return LoadPolicy(scratch=str(tmp_path), deadline_ms=1000, warm_up_batches=(1, 64))


def published(data: bytes, **more) -> Publication:
    return parse(build(data_type="t", data=data, **more))


def refusal(data: bytes, server: ForkServer, policy: LoadPolicy) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(published(data), policy, place=CheckedPlace(server))
    assert list(Path(policy.scratch).iterdir()) == []
    return caught.value


def looping(when: float) -> bytes:
    """`y` is the sum of `x`; where an `x` is at least `when`, it never comes."""
    tf = configured_tensorflow()

    def made(x):
        stays = tf.reduce_any(x >= when)
        _, y = tf.while_loop(
            lambda i, y: tf.logical_or(i < 1, stays),
            lambda i, y: (i + 1, y),
            (tf.constant(0), tf.reduce_sum(x, 1)),
        )
        tf.identity(y, name="y")

    return models.graph(made)


def allocating(count: int) -> bytes:
    tf = configured_tensorflow()

    def made(x):
        large = tf.fill([tf.cast(count + tf.reduce_sum(x) * 0, tf.int32)], 1.0)
        tf.add(tf.reduce_sum(x, 1), tf.reduce_max(large), name="y")

    return models.graph(made)


def test_a_good_model_is_checked_and_then_scores_here(server: ForkServer, policy: LoadPolicy):
    weights = models.layers()
    model = load_model(published(models.frozen_graph(weights)), policy, place=CheckedPlace(server))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    assert np.allclose(model.predict({"x": x})["y"], models.expected(weights, x), atol=1e-5)
    assert model.load_report.seconds["check"] > 0
    model.close()
    assert list(Path(policy.scratch).iterdir()) == []


def test_a_check_leaves_the_processors_to_the_stream_where_they_are_short(
    server: ForkServer, policy: LoadPolicy
):
    done = threading.Event()

    def check() -> None:
        refusal(looping(-1e30), server, policy)
        done.set()

    def niceness() -> set[int]:
        found = set()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.add(child.nice())
        return found

    before = psutil.Process().nice()
    thread = threading.Thread(target=check)
    thread.start()
    wait_until(lambda: min(before + 10, 19) in niceness() or done.is_set(), WAIT, lambda: f"{niceness()}")
    assert not done.is_set()
    thread.join(WAIT)
    assert done.is_set() and psutil.Process().nice() == before


@pytest.mark.parametrize("isolated", [False, True])
def test_onnx_models_are_checked_and_isolated_as_others(
    server: ForkServer, policy: LoadPolicy, isolated: bool
):
    onnx_models = pytest.importorskip("tests.onnx_models")
    pytest.importorskip("onnx")
    place = IsolatedPlace(server, call_seconds=5.0) if isolated else CheckedPlace(server)
    data = onnx_models.dense(np.array([[1.0], [2.0]], np.float32))
    model = load_model(published(data, model_type="ONNX"), policy, place=place)
    assert model.predict({"x": np.ones((3, 2), np.float32)})["y"].tolist() == [[3.0]] * 3
    model.close()
    with pytest.raises(LoadError, match="no ONNX model"):
        load_model(published(data[:30], model_type="ONNX"), policy, place=place)


def test_a_saved_model_is_read_from_where_it_was_fetched_to(
    server: ForkServer, policy: LoadPolicy, tmp_path: Path
):
    folder = models.saved_model(tmp_path / "store" / "m")
    zipped = published(models.zipped(folder), model_type="TENSORFLOWSAVED")
    there = replace(zipped, data=None, location=folder.as_uri(), sha256="", size=0)
    for one in (zipped, there):
        roots = replace(policy, roots=(str(tmp_path / "store"),), scratch=str(tmp_path / "store"))
        model = load_model(one, roots, place=CheckedPlace(server))
        assert model.predict({"x": np.zeros((2, 3), "float32")})["y"].shape == (2, 2)
        model.close()


def test_a_refusal_comes_from_the_process_as_it_would_from_here(server: ForkServer, policy: LoadPolicy):
    fields = replace(policy, fields=("other",))
    error = refusal(models.frozen_graph(), server, fields)
    assert type(error) is InputsError and error.step in ("inputs", "load")


def test_a_model_that_never_ends_is_refused(server: ForkServer, policy: LoadPolicy):
    error = refusal(looping(-1e9), server, policy)
    assert error.step == "trial" and "within 1 s" in str(error)
    hung = refusal(looping(-1e9), server, replace(policy, deadline_ms=0))
    assert isinstance(hung, InconclusiveError) and hung.step == "trial"
    assert "processor time" in str(hung) or "within 20 s" in str(hung)


def test_a_model_that_takes_too_much_memory_is_refused(server: ForkServer, policy: LoadPolicy):
    policy = replace(policy, deadline_ms=20_000, warm_up_batches=(1,))
    error = refusal(allocating(140_000_000), server, policy)
    assert isinstance(error, QuotaError) and "bytes of memory" in str(error)
    assert isinstance(refusal(allocating(2_000_000_000), server, policy), ModelError)


@pytest.mark.parametrize("file", sorted(HOSTILE.glob("*.pb")), ids=lambda file: file.stem)
def test_a_hostile_file_costs_the_process_that_checks_it(server: ForkServer, policy: LoadPolicy, file: Path):
    if file.stem == "late_loop":  # whose turn comes later
        return
    error = refusal(file.read_bytes(), server, policy)
    assert error.step and str(error)


def test_a_model_that_hangs_later_is_ended_by_its_deadline_and_scores_on(
    server: ForkServer, policy: LoadPolicy
):
    model = load_model(published(looping(100.0)), policy, place=CheckedPlace(server))
    with pytest.raises(UnresponsiveError, match="within 1 s"):
        model.predict({"x": np.full((3, 2), 1000.0, "float32")})
    assert model.predict({"x": np.ones((3, 2), "float32")})["y"].tolist() == [2, 2, 2]
    model.close()


@pytest.fixture
def isolated(server: ForkServer, policy: LoadPolicy) -> Iterator:
    made = []

    def load(data: bytes, restarts: int = 1, **more):
        place = IsolatedPlace(server, call_seconds=2.0, restarts=restarts)
        made.append(load_model(published(data, **more), policy, place=place))
        return made[-1]

    yield load
    for model in made:
        model.close()


def test_an_isolated_model_gives_what_it_gives_here(isolated, policy: LoadPolicy):
    weights = models.layers(widths=(3, 64, 400))
    data = models.frozen_graph(weights)
    far, here = isolated(data), load_model(published(data), policy)
    for count in (1, 7, 3000, 2):  # of which the third needs more memory than was shared at first
        x = np.random.default_rng(count).normal(size=(count, 3)).astype("float32")
        assert np.array_equal(far.predict({"x": x})["y"], here.predict({"x": x})["y"])
    assert far.inputs == here.inputs and far.outputs == here.outputs
    here.close()


def test_texts_go_both_ways(isolated):
    tf = configured_tensorflow()
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.string, (None,), name="x")
        tf.strings.join([x, x], name="y")
    model = isolated(made.as_graph_def().SerializeToString())
    assert model.predict({"x": np.array(["a", "é", ""], object)})["y"].tolist() == ["aa", "éé", ""]


@pytest.mark.parametrize("name", ["examples_with_defaults", "lists_of_any_length_as_sparse"])
def test_lists_and_fields_that_may_be_missing_go_both_ways(name, isolated, policy: LoadPolicy, tmp_path):
    (tmp_path / "made").mkdir()
    kind = KINDS[name](tmp_path / "made")
    said = {"model_type": kind.model_type, **kind.said}
    far, here = isolated(kind.data, **said), load_model(published(kind.data, **said), policy)
    assert far.inputs == here.inputs and far.outputs == here.outputs
    columns = JsonCodec().decode([json.dumps(r).encode() for r in kind.records], far.inputs).columns
    answer = far.predict(columns)
    for output, expected in kind.expected.items():
        np.testing.assert_allclose(answer[output], expected, rtol=1e-6)
        np.testing.assert_array_equal(answer[output], here.predict(columns)[output])
    here.close()


def test_columns_of_all_kinds_are_read_as_they_were_written():
    texts, lists = np.empty((2, 2), object), np.empty(3, object)
    texts[:] = [["a", None], ["é", ""]]
    lists[:] = [np.array([1, 2], "int64"), np.array([], "int64"), np.array([3], "int64")]
    columns = {"b": np.array([True, False]), "x": np.ones((2, 3), "float32"), "t": texts, "l": lists}
    memory = SharedBytes(4096)
    found = read(json.loads(json.dumps(write(columns, memory))), memory)
    assert all(np.array_equal(found[n], columns[n]) and found[n].dtype == columns[n].dtype for n in "bxt")
    assert [v.tolist() for v in found["l"]] == [[1, 2], [], [3]] and found["l"][1].dtype == np.int64
    whole = np.array([2, None, np.int64(3), True], object)
    assert read(write({"w": whole}, memory), memory)["w"].tolist() == [2, None, 3, True]
    raw = np.array([b"\xff\x00", None, b""], object)
    assert read(write({"r": raw}, memory), memory)["r"].tolist() == [b"\xff\x00", None, b""]
    with pytest.raises(TooSmallError):
        write({"x": np.ones(2000)}, memory)
    memory.close()


@pytest.mark.parametrize(
    "place",
    [
        {"dtype": "float64", "shape": [2], "at": 4090, "bytes": 16},
        {"dtype": "float64", "shape": [3], "at": 0, "bytes": 16},
        {"dtype": "float64", "shape": [-2], "at": 0, "bytes": 16},
        {"dtype": "float64", "shape": [1 << 62, 1 << 62], "at": 0, "bytes": 16},
        {"dtype": "object", "shape": [2], "at": 0, "bytes": 16},
        {"dtype": "text", "shape": [2], "at": 0, "bytes": 16},
        {"dtype": "float64", "shape": [2], "at": True, "bytes": 16},
        {"shape": [2]},
        None,
    ],
)
def test_a_layout_that_lies_is_found_out(place):
    memory = SharedBytes(4096)
    with pytest.raises(MalformedError):
        read({"x": place}, memory)
    memory.close()


def test_a_crash_costs_that_model_a_call_and_it_is_started_again_so_often(isolated):
    model = isolated(models.frozen_graph(), restarts=1)
    x = {"x": np.zeros((2, 3), "float32")}
    before = model.predict(x)["y"]
    os.kill(child_of(model), signal.SIGKILL)
    with pytest.raises(UnresponsiveError, match="SIGKILL; it is being started again") as first:
        model.predict(x)
    assert first.value.counts
    assert np.array_equal(answered(model, x), before)
    os.kill(child_of(model), signal.SIGKILL)
    with pytest.raises(UnresponsiveError, match="not started again"):
        model.predict(x)
    with pytest.raises(UnresponsiveError, match="not started again") as last:
        model.predict(x)
    assert last.value.counts


def test_an_isolated_model_that_hangs_is_ended(isolated):
    model = isolated(looping(100.0))
    started = child_of(model)
    with pytest.raises(UnresponsiveError, match="within"):
        model.predict({"x": np.full((1, 2), 1000.0, "float32")})
    assert answered(model, {"x": np.ones((1, 2), "float32")}).tolist() == [2]
    assert child_of(model) == started, "TensorFlow itself ended the call"


BROKEN_MODELS = int(os.environ.get("MILLRACE_TEST_BROKEN_MODELS", "200"))


def test_threads_descriptors_processes_and_memory_stay_flat(server: ForkServer, policy: LoadPolicy):
    broken = [models.frozen_graph()[:-7], b"", b"\xff" * 100, looping(-1e9)]
    place = CheckedPlace(server)

    def once(data: bytes) -> None:
        with pytest.raises(ModelError):
            load_model(published(data), replace(policy, deadline_ms=20), place=place)

    for data in broken:
        once(data)
    before, memory = counts(server), resident(server)
    for number in range(BROKEN_MODELS):
        once(broken[number % len(broken)])
    assert counts(server) == before
    assert resident(server) < memory * 1.1
    assert list(Path(policy.scratch).iterdir()) == []


def counts(server: ForkServer) -> tuple[int, int, int, int]:
    pid = server._process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    of_server = len(os.listdir(f"/proc/{pid}/fd"))
    return threading.active_count(), len(os.listdir("/proc/self/fd")), of_server, len(children)


def resident(server: ForkServer) -> int:
    """Kilobytes of memory of this process and of the server that forks."""
    found = [Path(f"/proc/{pid}/status").read_text() for pid in ("self", server._process.pid)]
    return sum(int(text.split("VmRSS:")[1].split()[0]) for text in found)


def child_of(model) -> int:
    return model._runtime._child.pid


def answered(model, columns):
    """The first answer after a restart."""
    over = time.monotonic() + WAIT
    while time.monotonic() < over:
        try:
            return model.predict(columns)["y"]
        except UnresponsiveError as e:
            assert not e.counts and "being started again" in str(e)
            time.sleep(0.02)
    raise AssertionError("it was not started again")


def test_what_served_is_checked_again_after_a_failure_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be what ended the task; a job that starts does not wait for a check."""
    places: list[object] = []
    monkeypatch.setattr(loader, "acquire", lambda spec: None)
    monkeypatch.setattr(loader, "load_model", lambda published, policy, place: places.append(place))
    for again in (False, True):
        made = loader.SandboxedLoader(lambda _: LoadPolicy(), loader.Isolation(), 5.0, again)
        made.load_again(published(b"x"))
        made.load(published(b"x"))
    assert [isinstance(place, CheckedPlace) for place in places] == [False, True, True, True]
    unchecked = loader.SandboxedLoader(lambda _: LoadPolicy(), loader.Isolation(check=False), 5.0, True)
    unchecked.load_again(published(b"x"))
    assert places[-1] is None


@pytest.mark.parametrize(
    "failure",
    [InconclusiveError("it did not come to an end within 30 s"), QuotaError("it takes too much now")],
)
def test_a_check_again_that_says_nothing_of_a_crash_does_not_keep_a_model_away(
    monkeypatch: pytest.MonkeyPatch, failure: ModelError
) -> None:
    places: list[object] = []

    def load(published: Publication, policy: LoadPolicy, place: object) -> str:
        places.append(place)
        if isinstance(place, CheckedPlace):
            raise failure
        return "loaded"

    monkeypatch.setattr(loader, "acquire", lambda spec: None)
    monkeypatch.setattr(loader, "load_model", load)
    made = loader.SandboxedLoader(lambda _: LoadPolicy(), loader.Isolation(), 5.0, True)
    assert [made.load_again(published(b"x")) for _ in range(2)] == ["loaded", "loaded"]
    assert [isinstance(place, CheckedPlace) for place in places] == [True, False, False], "it is asked once"


def test_what_ends_the_check_again_is_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(published: Publication, policy: LoadPolicy, place: object) -> str:
        assert isinstance(place, CheckedPlace)
        raise ProcessEndedError("it was ended by SIGSEGV")

    monkeypatch.setattr(loader, "acquire", lambda spec: None)
    monkeypatch.setattr(loader, "load_model", load)
    made = loader.SandboxedLoader(lambda _: LoadPolicy(), loader.Isolation(), 5.0, True)
    for _ in range(2):
        with pytest.raises(ProcessEndedError):
            made.load_again(published(b"x"))


@pytest.mark.parametrize(
    ("status", "itself"),
    [(None, False), (signal.SIGKILL, False), (signal.SIGXCPU, False), (signal.SIGSEGV, True), (3 << 8, True)],
)
def test_only_what_a_model_does_itself_counts_against_it(status: int | None, itself: bool) -> None:
    child = object.__new__(Child)
    child._status = status
    assert child.ended_itself == itself


def test_an_operator_knows_that_it_was_started_again() -> None:
    context = KeyedContext()
    assert not restarted(context)  # type: ignore[arg-type]
    task = SimpleNamespace(getAttemptNumber=lambda: 1)
    context._runtime_context = SimpleNamespace(getTaskInfo=lambda: task)  # type: ignore[attr-defined]
    assert restarted(context)  # type: ignore[arg-type]
