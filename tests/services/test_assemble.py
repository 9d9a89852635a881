"""The assembling job on Flink with a real Redis and an HTTP service: every request is accounted for, what was
made on demand is served from Redis the next time, and is in history."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from devservices.process import ROOT, environment
from devservices.redis import Redis
from schemas.features.feature_batch import FeatureBatch
from tests.feature_cases import DECLARED, INPUTS
from udfs.io.folder_files import visible_files
from udfs.stores.online.base import RedisOptions
from udfs.stores.online.redis_writer import RedisWriter
from udfs.stores.registry.base import OnDemand
from udfs.stores.registry.sql import SqlRegistry

COUNT = 1200
KINDS = ("here", "new", "stuck", "gone", "stranger", "broken")


class Prices(BaseHTTPRequestHandler):
    """Prices of houses: `new...` have one, `stuck...` are never answered, all else is not known."""

    asked: Counter[str]
    over: threading.Event

    def do_POST(self) -> None:
        house = json.loads(self.rfile.read(int(self.headers["content-length"])))["house"]
        self.asked[house] += 1
        if house.startswith("stuck"):
            self.over.wait()
            return
        answer = b'{"house": {"prices": [{"amount": 1.5}, {"amount": %d}]}}' % len(house)
        self.send_response(200 if house.startswith("new") else 404)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, Counter[str]]]:
    handler = type("Handler", (Prices,), {"asked": Counter(), "over": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/houses", handler.asked  # type: ignore[attr-defined]
        handler.over.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def house(n: int) -> str:
    kind = KINDS[n % len(KINDS)]
    return f"{kind}-{n % 60}" if kind != "here" else "here"


def request(n: int) -> bytes:
    if KINDS[n % len(KINDS)] == "broken":
        return b'{"id": 1'
    model = "nobody" if KINDS[n % len(KINDS)] == "stranger" else "estimate"
    entities = {"house": house(n), "district": 1}
    return orjson.dumps({"id": str(n), "model": model, "entities": entities, "expires_ms": 20_000})


def lines(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for f in visible_files(folder) for line in f.read_bytes().splitlines()]


def fill(registry: str, store: RedisOptions, url: str) -> None:
    """The registry with a creator at `url`, and the online store with one house and one district."""
    known = SqlRegistry(registry)
    known.apply(DECLARED)
    known.put_model(INPUTS)
    paths = (("price", "house.prices[-1].amount"),)
    known.put_on_demand(OnDemand("houses_v1", url, paths, timeout_ms=1500, concurrency=64))
    now = time.time_ns() // 1_000_000
    for view, row in (
        ("houses_v1", {"house": "here", "price": 7.0}),
        ("districts_v1", {"district": 1, "sold": 3, "mean_price": 2.5}),
    ):
        batch = pa.RecordBatch.from_pylist([{**row, "event_timestamp": now, "created": now}])
        writer = RedisWriter(known.stored(view), store)
        assert writer.write(FeatureBatch(view, True, batch)).written == 1
        writer.close()


def run(root: Path, requests: Iterable[int], registry: str, store: RedisOptions) -> None:
    """The job over these requests, to its end."""
    records = root / "records" / "requests"
    records.mkdir(parents=True)
    (records / "0.jsonl").write_bytes(b"\n".join(map(request, requests)) + b"\n")
    redis = json.dumps({"url": store.url, "project": store.project})
    arguments = ["--folder.root", str(root), "--registry", registry, "--redis", redis, "--bounded", "true"]
    arguments += ["--history.url", str(root / "history"), "--jars", environment()["MILLRACE_JARS"]]
    arguments += ["--parallelism", "1", "--checkpoint-seconds", "1", "--on-demand-hosts", '["127.0.0.1"]']
    arguments += ["--flink", '{"restart-strategy.type": "none"}']
    command = [sys.executable, str(ROOT / "jobs" / "assemble.py"), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_requests_are_completions_expirations_and_dead_letters(
    redis_server: Redis, service: tuple[str, Counter[str]], tmp_path: Path
) -> None:
    url, asked = service
    address = f"sqlite:///{tmp_path}/registry.db"
    store = RedisOptions(redis_server.url, project=f"assemble-{tmp_path.name}")
    fill(address, store, url)

    first = tmp_path / "first"
    run(first, range(COUNT), address, store)

    of = {kind: {str(n) for n in range(COUNT) if KINDS[n % len(KINDS)] == kind} for kind in KINDS}
    assembled, expired = lines(first / "assembled"), lines(first / "expired")
    assert len(lines(first / "dead-letters")) == len(of["broken"])
    outcomes = Counter([*(one["id"] for one in assembled), *(one["request"]["id"] for one in expired)])
    assert outcomes == Counter(name for kind in KINDS if kind != "broken" for name in of[kind])
    assert {one["id"] for one in assembled} == of["here"] | of["new"]
    created = Counter[str]()
    for one in assembled:
        mean, last = one["features"]
        fresh = one["id"] in of["new"]
        created[house(int(one["id"]))] += last["created_on_demand"]
        assert one["mean"] == mean["value"] == 2.5 and mean["feature"] == "districts_v1:mean_price"
        assert one["last"] == last["value"] == (len(house(int(one["id"]))) if fresh else 7.0)
        assert last["version"] == 1 and last["age_ms"] >= 0
    for one in expired:
        kind = KINDS[int(one["request"]["id"]) % len(KINDS)]
        why = one.get("reason") or one["missing"]["houses_v1:price"]
        expected = {"stuck": "no answer within 1500 ms", "gone": "answered 404", "stranger": "nobody"}
        assert expected[kind] in why
    made = {house(n) for n in range(COUNT) if KINDS[n % len(KINDS)] == "new"}
    assert {name: n for name, n in asked.items() if name in made} == dict.fromkeys(made, 1)
    # a request that comes after a house was created finds it in Redis
    assert {name for name, n in created.items() if n} == made

    kept = [str(f) for f in (first / "history" / "houses_v1").glob("dt=*/[!._]*")]
    history = ds.dataset(kept, format="parquet").to_table()
    assert sorted(history.column("house").to_pylist()) == sorted(made)
    assert {*history.column("price").to_pylist()} == {float(len(name)) for name in made}

    again = tmp_path / "again"
    wanted = [n for n in range(COUNT) if KINDS[n % len(KINDS)] in ("here", "new")]
    before = asked.total()
    run(again, wanted, address, store)
    assembled = lines(again / "assembled")
    assert sorted(int(one["id"]) for one in assembled) == wanted and asked.total() == before
    assert not any(stamp["created_on_demand"] for one in assembled for stamp in one["features"])
    assert lines(again / "expired") == [] == lines(again / "dead-letters")
