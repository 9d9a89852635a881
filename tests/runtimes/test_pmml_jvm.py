"""The JVM of the second evaluator: it ends with its Python, and a model in it outlives its death."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from schemas.errors import LoadError
from tests.pmml_documents import OUTPUT, Leaf, document, tree
from udfs.models.runtimes.pmml import jvm
from udfs.models.runtimes.pmml.document import parse

FULL = [("a", 5), ("b", 3), ("c", 2)]
ROW = '{"columns": ["x", "y", "k"], "data": [[1.0, 0.0, "red"]]}'
CHILD = """
import sys, time
from udfs.models.runtimes.pmml.jvm import JvmModel
model = JvmModel(sys.stdin.read())
print("loaded", flush=True)
time.sleep(600)
"""


def text() -> str:
    return parse(document(tree(Leaf(FULL), output=OUTPUT)).encode()).text()


def test_without_java_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadError, match="JAVA_HOME"):
        jvm.find_java()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own with a model loaded."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert process.stdin and process.stdout
    process.stdin.write(text().encode())
    process.stdin.close()
    assert process.stdout.readline() == b"loaded\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_jvm_ends_when_its_python_is_killed(child: subprocess.Popen[bytes]) -> None:
    (java,) = psutil.Process(child.pid).children(recursive=True)
    assert "java" in java.name()
    child.send_signal(signal.SIGKILL)
    child.wait()
    gone, alive = psutil.wait_procs([java], timeout=30)
    assert [p.pid for p in gone] == [java.pid] and not alive


def test_a_model_survives_the_death_of_its_jvm() -> None:
    model = jvm.JvmModel(text())
    before = orjson.loads(model.predict(ROW))
    for java in [p for p in psutil.Process().children() if "java" in p.name()]:
        java.kill()
        java.wait()
    after = orjson.loads(model.predict(ROW))
    assert after == before and after["data"][0][0] == 0.5
    model.close()
