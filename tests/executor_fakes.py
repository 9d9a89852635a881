"""An executor whose clock and models a test controls."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from schemas.codecs.base import Codec
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import LoadError
from schemas.model_pb2 import ModelDescriptor
from schemas.results.answers import Answer, Asked, Request
from schemas.results.records import ModelEvent
from schemas.tensors import Columns
from tests.serving_fakes import Doubling, batch_of, loaded_model
from udfs.ensemble.execution.clock import Clock
from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.execution.fault_injection import FaultInjection
from udfs.ensemble.execution.worker import CallLimits
from udfs.models.background_loader import LoadBounds
from udfs.models.descriptor import WITHDRAW, Publication, build, parse
from udfs.models.loaded_model import LoadedModel

STICKS = 99.0
WAIT = 30  # seconds after which a test that waits for a thread gives up


class Hands:
    """A clock that goes on only when it is told to; in ms."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


class Sticking(Doubling):
    """A micro-batch with `STICKS` in it stays in `predict` until the test lets it go."""

    def __init__(self, add: float = 0.0) -> None:
        super().__init__(add)
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.inside = 0

    def predict(self, columns: Columns) -> Columns:
        if (columns["x"] == STICKS).any():
            self.inside += 1
            self.entered.release()
            assert self.go.acquire(timeout=WAIT)
            self.inside -= 1
        return super().predict(columns)

    def close(self) -> None:
        assert not self.inside, "closed while a call was in it"
        super().close()


class Raising(Doubling):
    def predict(self, columns: Columns) -> Columns:
        raise KeyError("nobody foresaw this")


class Leaving(Doubling):
    def predict(self, columns: Columns) -> Columns:
        raise SystemExit(3)


class Misshapen(Doubling):
    def predict(self, columns: Columns) -> Columns:
        self.batches.append(len(columns["x"]))
        return {"y": np.zeros((len(columns["x"]), 3))}


class Nameless(Doubling):
    def predict(self, columns: Columns) -> Columns:
        self.batches.append(len(columns["x"]))
        return {"z": columns["x"]}


KINDS: dict[bytes, type[Doubling]] = {
    b"raising": Raising, b"leaving": Leaving, b"misshapen": Misshapen, b"nameless": Nameless
}  # fmt: skip


@dataclass
class Loader:
    """Loads by content: `bad` fails, `KINDS` by their names, all else is `Sticking`. Keeps what it made."""

    made: list[tuple[str, int, Doubling]] = field(default_factory=list)
    broken: bool = False

    def __call__(self, published: Publication) -> LoadedModel:
        content = published.data or b""
        if content.startswith(b"bad") or self.broken:
            raise LoadError("it cannot be loaded")
        kind = next((k for name, k in KINDS.items() if content.startswith(name)), Sticking)
        runtime = kind(published.version)
        self.made.append((published.name, published.version, runtime))
        stamp = (published.name, published.version, published.sha256, published.data_type)
        return loaded_model(runtime, *stamp, signer=published.signer)

    def of(self, name: str) -> list[Doubling]:
        return [runtime for known, _, runtime in self.made if known == name]

    def let_all_go(self) -> None:
        for _, _, runtime in self.made:
            if isinstance(runtime, Sticking):
                runtime.go.release(1000)


class Bench:
    """An `Executor` of candidates of the data type `t`, and short words for what it is told."""

    def __init__(
        self,
        stored: bytes | None = None,
        loader: Loader | None = None,
        faults: FaultInjection | None = None,
        restored: bool = True,
        model_type: str = "PMML",
        *,
        bounds: LoadBounds | None = None,
        codec: Codec | None = None,
        **limits,
    ) -> None:
        self.loader, self.hands = loader or Loader(), Hands()
        limits = {"patience_ms": 0, "call_timeout_ms": 500, "max_abandoned": 2} | limits
        self.executor = Executor(
            model_type, self.loader, codec or JsonCodec(), max_batch=64, subtask=3,
            limits=CallLimits(**limits), faults=faults, clock=self.hands.clock(),
            bounds=bounds,
        )  # fmt: skip
        self.told: list[str] = []
        self.batches = 0
        self.ready: dict[str, list[Answer]] = {}
        if restored:
            self.tell(self.executor.restore("t", stored))

    def tell(self, notices) -> None:
        self.told += [f"{n.kind} {n.name} {n.version}" for n in notices if isinstance(n, ModelEvent)]

    def publish(self, name: str, version: int = 0, content: bytes = b"", signer: str = "", **more) -> None:
        data = content or b"content of %s %d" % (name.encode(), version)
        more = {"model_type": "PMML"} | more
        message = ModelDescriptor.FromString(
            build(data_type="t", name=name, version=version, data=data, **more)
        )
        message.signer = signer
        descriptor = message.SerializeToString()
        self.tell(self.executor.publish(descriptor, parse(descriptor)))

    def unpublish(self, name: str = "") -> None:
        descriptor = build(data_type="t", name=name, operation=WITHDRAW)
        self.tell(self.executor.publish(descriptor, parse(descriptor)))

    def serve(self, *names: str, content: bytes = b"") -> None:
        """Publish, and wait until they have been loaded."""
        for name in names:
            self.publish(name, 1, content)
        self.until(lambda: all(f"served {name} 1" in self.told for name in names))

    def until(self, reached) -> None:
        """Poll until it is so."""
        pause = threading.Event()
        for _ in range(WAIT * 500):
            self.poll()
            if reached():
                return
            pause.wait(0.002)
        raise AssertionError(f"waited in vain; told so far: {self.told}")

    def poll(self) -> None:
        self.tell(self.executor.poll())

    def ask(self, *names: str, key: str = "0/t", **more) -> None:
        """Send a request; `answers` waits for what becomes of it."""
        self.ready.setdefault(key, []).extend(self.now(*names, key=key, **more))

    def tried(self, *names: str) -> list[Answer]:
        self.ask(*names)
        return self.answers(len(names))

    def now(self, *names: str, numbers=(1.0,), rows=None, ms: float = 100, key: str = "0/t") -> list[Answer]:
        """Send a request: what is answered at once."""
        self.batches += 1
        now = int(self.hands.now)
        asked = tuple(Asked(name, rows) for name in names)
        request = Request(f"b{self.batches}", "t", now, int(now + ms), asked)
        payloads = [n if isinstance(n, bytes) else b'{"a":%f}' % n for n in numbers]
        return self.executor.request(key, request, batch_of(payloads))

    def answers(self, count: int = 1, key: str = "0/t") -> list[Answer]:
        """Wait for so many answers."""
        got = self.ready.pop(key, [])

        def enough() -> bool:
            got.extend(self.executor.take(key))
            return len(got) >= count

        self.until(enough)
        return got

    def stick(self, name: str, ms: float = 100) -> Sticking:
        """Ask for a call that does not return, and wait until it is under way."""
        assert self.now(name, numbers=[STICKS], ms=ms) == []
        runtime = self.loader.of(name)[-1]
        assert isinstance(runtime, Sticking)
        assert runtime.entered.acquire(timeout=WAIT)
        return runtime

    def close(self) -> None:
        self.loader.let_all_go()
        self.executor.close()

    def until_closed(self) -> None:
        """Wait until every model that was made has been closed: once the threads that were stuck are back."""
        pause = threading.Event()
        for _ in range(WAIT * 500):
            if all(runtime.closed for _, _, runtime in self.loader.made):
                return
            pause.wait(0.002)
        raise AssertionError("a model was never closed")
