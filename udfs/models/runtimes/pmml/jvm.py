# ruff: noqa: PLC0415 - py4j and pypmml are imported only where a PMML model is loaded
"""The one JVM of this process that holds the PMML models, and a model in it.

The JVM is a child of this process with a password on its port (pypmml starts it without one, so that any
user of the machine could have it run Java code). It reads its standard input and ends as soon as the other
end is gone, however this process ended.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from schemas.errors import LoadError, PredictError

HEAP = "-Xmx512m"
_lock = threading.RLock()
_owner = 0  # the process that started the gateway: a forked child must not talk through its parent's
_process: subprocess.Popen[bytes] | None = None


class JvmModel:
    """A PMML model inside the JVM. If the JVM has died, the next call starts one and loads the text again.

    Raises `LoadError` where there is no Java or the text is not accepted.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._model: Any = None
        self._load()

    def outputs(self) -> list[tuple[str, str]]:
        """The names and PMML data types of the results, in order."""
        return [(f.name, f.dataType) for f in self._model.outputFields]

    def predict(self, rows: str) -> str:
        """One call for a micro-batch: JSON in pandas' `split` form, in and out. Raises `PredictError`."""
        from py4j.protocol import Py4JError, Py4JJavaError

        if self._model is None:
            raise PredictError("the PMML model is closed")
        for last in (False, True):
            try:
                return self._model.predict(rows)
            except Py4JJavaError as e:
                raise PredictError(f"the PMML model failed on the micro-batch: {_first_line(e)}") from None
            except (Py4JError, OSError) as e:
                if last or not _has_died():
                    raise PredictError(f"the JVM that scores PMML does not answer: {e}") from None
                self._load()
        raise AssertionError("unreachable")

    def scored(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Columns by name, in and out; None where a value is missing. Raises `PredictError`."""
        rows = {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
        answer = orjson.loads(self.predict(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()))
        return {name: [row[k] for row in answer["data"]] for k, name in enumerate(answer["columns"])}

    def close(self) -> None:
        # Dropping the last reference makes pypmml release the object in the JVM.
        self._model = None

    def _load(self) -> None:
        from py4j.protocol import Py4JError
        from pypmml import Model, PMMLError

        ensure()
        try:
            self._model = Model.fromString(self._text)
        except (PMMLError, Py4JError) as e:
            raise LoadError(f"the PMML evaluator does not accept the model: {e}") from None


def ensure() -> None:
    """Start the JVM unless this process has one that runs. Raises `LoadError`."""
    global _owner, _process  # noqa: PLW0603 - one JVM a process is the point
    from pypmml import PMMLContext

    with _lock:
        if _owner == os.getpid() and _process is not None and _process.poll() is None:
            return
        _forget()
        java = find_java()
        try:
            gateway, _process = _start(java)
            PMMLContext(gateway_instance=gateway)
        except (OSError, ValueError) as e:
            raise LoadError(f"the JVM did not start with {java}: {e}; PMML needs Java 8 or newer") from None
        _owner = os.getpid()


def find_java() -> str:
    """`$JAVA_HOME/bin/java`, else `java` on the PATH. Raises `LoadError` where there is neither."""
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    java = shutil.which("java")
    if java is None:
        where = f"JAVA_HOME is {home!r} and has no bin/java" if home else "JAVA_HOME is not set"
        raise LoadError(
            f"PMML is scored in a JVM, but {where} and the PATH has no java; install one or set JAVA_HOME"
        )
    return java


def _has_died() -> bool:
    """Whether the JVM is gone; a broken connection may show a moment before its end does."""
    if _owner != os.getpid() or _process is None:
        return True
    try:
        _process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _forget() -> None:
    from pypmml.base import PMMLContext
    from pypmml.jvm import Py4jGateway

    # Not `PMMLContext.shutdown`: after a fork that would stop the parent's JVM.
    PMMLContext._gateway = PMMLContext._active_pmml_context = None
    Py4jGateway._gateway = Py4jGateway._jvm = None


def _start(java: str) -> tuple[Any, subprocess.Popen[bytes]]:
    from py4j.java_gateway import GatewayParameters, launch_gateway
    from pypmml.jvm import Py4jGateway

    gateway = Py4jGateway()
    options = ["-XX:+UseSerialGC", "-Xss16m", HEAP, *gateway.java_opts]
    port, token, process = launch_gateway(
        classpath=gateway.classpath, javaopts=options, java_path=java,
        die_on_exit=True, enable_auth=True, return_proc=True,
    )  # fmt: skip
    parameters = GatewayParameters(port=port, auth_token=token, auto_convert=True)
    Py4jGateway._gateway = _prompt_gateway(parameters)
    Py4jGateway._jvm = Py4jGateway._gateway.jvm
    return gateway, process


def _prompt_gateway(parameters: Any) -> Any:
    """A py4j gateway whose connections acknowledge at once.

    The JVM writes its answer in pieces and waits for an acknowledgement between them, which the kernel
    delays by 40 ms: more than a micro-batch of a thousand rows takes to score.
    """
    from py4j.java_gateway import GatewayClient, GatewayConnection, JavaGateway

    class Connection(GatewayConnection):
        def start(self) -> None:
            super().start()
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.stream = _PromptReader(self.socket)

    class Client(GatewayClient):
        def _create_connection(self) -> Any:
            connection = Connection(self.gateway_parameters, self.gateway_property)
            connection.start()
            return connection

    class Gateway(JavaGateway):
        def _create_gateway_client(self) -> Any:
            return Client(gateway_parameters=self.gateway_parameters)

    return Gateway(gateway_parameters=parameters)


class _PromptReader:
    """Reads one answer line; the protocol never has more than one on its way."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._quick = getattr(socket, "TCP_QUICKACK", None)

    def readline(self) -> bytes:
        parts = []
        while True:
            if self._quick is not None:  # the kernel takes it back, so it is said before each read
                self._socket.setsockopt(socket.IPPROTO_TCP, self._quick, 1)
            part = self._socket.recv(1 << 18)
            parts.append(part)
            if not part or part.endswith(b"\n"):
                return b"".join(parts)

    def close(self) -> None:
        """The socket is closed by the connection."""


def _first_line(error: Any) -> str:
    java = str(error.java_exception) if error.java_exception is not None else str(error)
    return java.splitlines()[0][:300] if java else "no reason given"
