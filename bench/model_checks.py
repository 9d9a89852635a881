"""What checking models in processes that may die costs, and whether broken ones leave anything behind.

    python -m bench.model_checks [--broken 1000]

Prints one line a measurement, and as the last line all of them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import ModelError
from schemas.results.records import EventKind, ModelEvent
from tests import models
from udfs.models.background_loader import LoadBounds
from udfs.models.descriptor import Publication, build, parse
from udfs.models.loading import LoadPolicy, Place, load_model
from udfs.models.memory import resident
from udfs.models.sandbox.isolated import IsolatedPlace
from udfs.models.sandbox.limits import SandboxLimits
from udfs.models.sandbox.places import CheckedPlace
from udfs.models.sandbox.processes import ForkServer, ForkSpec
from udfs.serving.serving import Serving

ROUNDS = 9
CALLS = 300


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--broken", type=int, default=1000, help="broken models in a row")
    wanted = arguments.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="millrace-checks-"))
    server = ForkServer(ForkSpec(SandboxLimits(deadline_seconds=30)))
    try:
        found = measured(server, scratch, wanted.broken)
    finally:
        server.close()
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(found))


def measured(server: ForkServer, scratch: Path, broken: int) -> dict[str, Any]:
    policy = LoadPolicy(scratch=str(scratch), deadline_ms=5000)
    found: dict[str, Any] = {}
    good = {
        "frozen graph": published(models.frozen_graph()),
        "SavedModel": published(
            models.zipped(models.saved_model(scratch / "saved")), model_type="TENSORFLOWSAVED"
        ),
    }
    for name, model in good.items():
        first = seconds(partial(swap, model, policy, CheckedPlace(server)))
        checked = [seconds(partial(swap, model, policy, CheckedPlace(server))) for _ in range(ROUNDS)]
        alone = [seconds(partial(swap, model, policy, None)) for _ in range(ROUNDS)]
        found[name] = {
            "first_s": round(first, 3),
            "checked_s": round(median(checked), 3),
            "unchecked_s": round(median(alone), 3),
            "added_s": round(median(checked) - median(alone), 3),
        }
        print(name, found[name], flush=True)
    places: dict[str, Place | None] = {"thread": None, "process": IsolatedPlace(server, 5.0)}
    for where, place in places.items():
        found[f"calls in a {where}, us"] = calls(good["frozen graph"], policy, place)
        print(where, found[f"calls in a {where}, us"], flush=True)
    found["broken"] = in_a_row(server, policy, broken)
    print("broken", found["broken"], flush=True)
    return found


def published(data: bytes, **more: Any) -> Publication:
    return parse(build(data_type="t", data=data, **more))


def swap(model: Publication, policy: LoadPolicy, place: Place | None) -> None:
    load_model(model, policy, place=place).close()


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def calls(model: Publication, policy: LoadPolicy, place: Place | None) -> dict[str, float]:
    """Median us of a call, by the records in it."""
    loaded = load_model(model, policy, place=place)
    found = {}
    for count in (1, 64, 1024):
        columns = {"x": np.random.default_rng(0).random((count, 3), "float32")}
        predict = partial(loaded.predict, columns)
        times = [seconds(predict) for _ in range(CALLS)]
        found[str(count)] = round(median(times) * 1e6, 1)
    loaded.close()
    return found


def in_a_row(server: ForkServer, policy: LoadPolicy, count: int) -> dict[str, Any]:
    """So many broken models published one after the other: what is left behind after a tenth of them, and at
    the end."""
    place = CheckedPlace(server)
    quick = replace(policy, warm_up_batches=(1,))
    serving = Serving(
        lambda a: load_model(a, quick, place=place),
        JsonCodec(),
        raw_json=True,
        max_batch=64,
        subtask=0,
        bounds=LoadBounds(threads=2),
    )
    serving.restore("t", None)
    whole = models.frozen_graph()
    contents = [whole[:-7], b"", b"\xff" * 200, whole[: len(whole) // 2], b"<PMML>"]
    events: list[ModelEvent] = []
    before: dict[str, int] = {}
    started = time.perf_counter()
    for number in range(count):
        data = contents[number % len(contents)] + b"%d" % number
        descriptor = build(data_type="t", name="n", version=number + 1, data=data)
        events += [e for e in serving.publish(descriptor, parse(descriptor)) if isinstance(e, ModelEvent)]
        events += [e for e in serving.settle() if isinstance(e, ModelEvent)]
        if number == count // 10:
            before = left_behind(server)
    after = left_behind(server)
    taken = time.perf_counter() - started
    serving.close()
    return {
        "count": count,
        "refused": sum(e.kind in (EventKind.REFUSED, EventKind.QUARANTINED) for e in events),
        "each_s": round(taken / count, 3),
        "after_a_tenth": before,
        "at_the_end": after,
        "scratch": len(os.listdir(policy.scratch or "")),
    }


def left_behind(server: ForkServer) -> dict[str, int]:
    process = server._process
    assert process is not None
    pid = process.pid
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "memory_mb": resident() >> 20,
        "server_descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "server_children": len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
        "server_memory_mb": int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 20,
    }


if __name__ == "__main__":
    try:
        main()
    except ModelError as e:
        raise SystemExit(f"{e.step}: {e}") from None
